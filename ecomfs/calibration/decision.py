"""The policy: what a posterior and the experts' opinions are made into.

    posterior ─ calibrate ─▶ ─ fuse ─▶ distribution ─ accept? ─▶ prediction
                  opinion ────┘                       novel?  ─▶ prediction set

Everything here was fitted before (:mod:`ecomfs.fit`) and is applied to one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ecomfs.calibration.blend import Blend
from ecomfs.calibration.calibrate import Calibration
from ecomfs.calibration.conformal import prediction_set
from ecomfs.calibration.fusion import Evidence, Fusion
from ecomfs.calibration.novelty import Novelty, signs
from ecomfs.experts import Opinion
from ecomfs.types import Posterior


@dataclass(frozen=True, slots=True)
class Decided:
    """A row's answer.

    Attributes:
        probabilities: over the label space.
        stages: the distribution after each step, by the step's name.
        source: ``model``, ``experts`` (the model was not asked), or ``fused``.
        accepted: whether the confidence reaches the fitted threshold.
        prediction_set: positions of the labels that may be true; empty unless sets were fitted.
        novelty: p-value of "this row belongs to one of the labels"; ``None`` unless fitted.
    """

    probabilities: tuple[float, ...]
    stages: dict[str, tuple[float, ...]] = field(default_factory=dict)
    source: str = "model"
    accepted: bool = True
    prediction_set: tuple[int, ...] = ()
    novelty: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What was fitted on the pool, beside each language's calibration.

    Attributes:
        fusion: how model and experts answer together; ``None``: the model alone.
        cheap: how the experts answer alone, for rows that skip the model.
        skip_from: confidence of the cheap answer from which on the model is not asked; ``None``:
            it always is.
        accept_from: confidence below which a row abstains; ``None``: none does.
        set_from: probability from which on a label belongs to the prediction set; ``None``: no
            sets are made.
        novelty: tells rows that belong to no label; ``None``: not looked at.
        novel_below: p-value below which such a row abstains.
    """

    fusion: Blend | None = None
    cheap: Blend | None = None
    skip_from: float | None = None
    accept_from: float | None = None
    set_from: float | None = None
    novelty: Novelty | None = None
    novel_below: float | None = None

    def skips(self, opinion: Opinion | None) -> bool:
        """Whether the experts are sure enough to answer without the model."""
        if self.skip_from is None or self.cheap is None or opinion is None:
            return False
        return max(cheap_answer(self.cheap, opinion)) >= self.skip_from

    def decide(
        self,
        posterior: Posterior | None,
        opinion: Opinion | None,
        calibration: Calibration | None = None,
    ) -> Decided:
        """The answer for one row.

        Args:
            posterior: as it was read; ``None`` when the model was not asked, which needs an
                opinion.
            opinion: the experts'; ``None`` when the pool is empty.
            calibration: of the row's language; ``None``: the posterior stands as it was read.
        """
        stages: dict[str, tuple[float, ...]] = {}
        source = "model"
        if posterior is None:
            if self.cheap is None or opinion is None:
                raise ValueError("a row that was not read needs an opinion")
            probabilities = stages["experts"] = cheap_answer(self.cheap, opinion)
            source = "experts"
        else:
            probabilities = stages["read"] = posterior.probabilities
            if calibration is not None:
                probabilities = stages["calibrated"] = calibration.apply(probabilities)
            if self.fusion is not None and opinion is not None:
                if self.cheap is not None:
                    stages["experts"] = cheap_answer(self.cheap, opinion)
                evidence = Evidence(
                    np.array([probabilities]), np.array([opinion.vote]), np.array([opinion.probe])
                )
                probabilities = tuple(self.fusion.apply(evidence)[0].tolist())
                stages["fused"], source = probabilities, "fused"
        novelty = self._novelty(probabilities, posterior, opinion)
        novel = self.novel_below is not None and novelty is not None and novelty < self.novel_below
        sure = self.accept_from is None or max(probabilities) >= self.accept_from
        return Decided(
            probabilities,
            stages,
            source,
            accepted=sure and not novel,
            prediction_set=()
            if self.set_from is None
            else tuple(prediction_set(probabilities, self.set_from)),
            novelty=novelty,
        )

    def _novelty(
        self, probabilities: Sequence[float], posterior: Posterior | None, opinion: Opinion | None
    ) -> float | None:
        if self.novelty is None or opinion is None:
            return None
        mass = np.nan if posterior is None or posterior.label_mass is None else posterior.label_mass
        rows = signs([opinion.similarity], [probabilities], [mass])
        return float(self.novelty.p_value(rows)[0])


def cheap_answer(cheap: Fusion | Blend, opinion: Opinion) -> tuple[float, ...]:
    """The experts' own distribution, without the model."""
    vote, probe = np.array([opinion.vote]), np.array([opinion.probe])
    evidence = Evidence(np.full_like(vote, np.nan), vote, probe)
    return tuple(cheap.apply(evidence)[0].tolist())


__all__ = ["Decided", "Policy", "cheap_answer"]
