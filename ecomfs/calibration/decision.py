"""The decision: combines posteriors and the experts' opinions to answers.

    posterior ─ calibrate ─▶ ─ fuse ─▶ distribution ─ accept? ─▶ prediction
                  opinion ────┘                       novel?  ─▶ prediction set

All parameters were fitted before (:mod:`ecomfs.fit`); here they are applied to a batch of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ecomfs.calibration.blend import Blend
from ecomfs.calibration.calibrate import Calibration
from ecomfs.calibration.conformal import prediction_set
from ecomfs.calibration.fusion import Evidence
from ecomfs.calibration.novelty import Novelty, novelty_signs
from ecomfs.calibration.usual_readings import UsualReadings
from ecomfs.types import Opinion, Posterior


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one row.

    Attributes:
        probabilities: distribution over the label space.
        stages: step → the distribution after it.
        source: ``model``, ``experts`` (the model was not asked), or ``fused``.
        accepted: whether the confidence reaches the fitted threshold.
        prediction_set: positions of the labels that may be true; empty unless sets were fitted.
        novelty: p-value of the hypothesis that the row belongs to one of the labels; ``None``
            unless fitted.

    >>> Decision((0.8, 0.2)).source
    'model'
    """

    probabilities: tuple[float, ...]
    stages: dict[str, tuple[float, ...]] = field(default_factory=dict)
    source: str = "model"
    accepted: bool = True
    prediction_set: tuple[int, ...] = ()
    novelty: float | None = None


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """All that was fitted on the pool except the calibration of each language.

    Attributes:
        fusion: the fusion of model and experts; ``None``: the model alone.
        experts_only: the fusion of the experts alone, for rows that skip the model.
        skip_from: confidence of the experts alone from which the model is skipped; ``None``: it is
            never skipped.
        accept_from: confidence below which a row abstains; ``None``: no row abstains.
        set_from: probability from which a label is in the prediction set; ``None``: no sets.
        novelty: computes p-values of novelty; ``None``: they are not computed.
        novel_below: p-value below which a row abstains.
        usual: limits of usual readings, by which unusual ones are found; ``None``: none are.

    >>> policy = DecisionPolicy(accept_from=0.8)
    >>> [d.accepted for d in policy.decide([Posterior((0.9, 0.1)), Posterior((0.6, 0.4))])]
    [True, False]
    """

    fusion: Blend | None = None
    experts_only: Blend | None = None
    skip_from: float | None = None
    accept_from: float | None = None
    set_from: float | None = None
    novelty: Novelty | None = None
    novel_below: float | None = None
    usual: UsualReadings | None = None

    def doubts(self, decision: Decision, posterior: Posterior | None) -> tuple[str, ...]:
        """The reasons why a reading is unusual; empty if the model was not asked, or no usual
        readings are known."""
        if self.usual is None or posterior is None:
            return ()
        return self.usual.doubts(decision.stages, posterior.label_mass)

    def skips(self, opinions: Sequence[Opinion]) -> list[bool]:
        """For each row, whether the experts are confident enough to answer without the model."""
        if self.skip_from is None or self.experts_only is None or not opinions:
            return [False] * len(opinions)
        confidence = self.experts_only.apply(Evidence.of(opinions)).max(axis=1)
        return [bool(sure) for sure in confidence >= self.skip_from]

    @property
    def may_decide(self) -> bool:
        """Whether rows can be decided without the model: model and experts are fused, and nothing
        was fitted that uses more of the answer than its label."""
        asked = (self.accept_from, self.set_from, self.novel_below)
        return self.fusion is not None and self.experts_only is not None and asked == (None,) * 3

    def decided(
        self, opinions: Sequence[Opinion], calibrations: Sequence[Calibration | None] = ()
    ) -> list[bool]:
        """For each row, whether no reading of the model could change the label
        (:meth:`ecomfs.calibration.Blend.decided`).

        Args:
            opinions: opinions of the experts.
            calibrations: calibration of each row's language; empty: none.
        """
        out = [False] * len(opinions)
        if self.fusion is None or self.experts_only is None or not self.may_decide:
            return out
        calibrations = calibrations or [None] * len(opinions)
        for calibration in {id(c): c for c in calibrations}.values():
            mine = [i for i, c in enumerate(calibrations) if c is calibration]
            few = [opinions[i] for i in mine]
            evidence = Evidence.of(few, None, self.experts_only.apply(Evidence.of(few)))
            for i, sure in zip(mine, self.fusion.decided(evidence, calibration), strict=True):
                out[i] = bool(sure)
        return out

    def decide(
        self,
        posteriors: Sequence[Posterior | None],
        opinions: Sequence[Opinion | None] = (),
        calibrations: Sequence[Calibration | None] = (),
    ) -> list[Decision]:
        """The answers for n rows. An answer does not depend on the other rows of the batch.

        Args:
            posteriors: the model's posteriors; ``None`` if it was not asked, which needs an
                opinion.
            opinions: opinions of the experts; ``None`` for a row without one; empty without
                experts.
            calibrations: calibration of each row's language; ``None``: no calibration. Empty: none
                for all rows.

        Raises:
            ValueError: a row has neither a posterior nor an opinion.
        """
        n = len(posteriors)
        if not n:
            return []
        opinions = opinions or [None] * n
        calibrations = calibrations or [None] * n
        stages: list[dict[str, tuple[float, ...]]] = [{} for _ in range(n)]
        answers: list[tuple[float, ...]] = [p.probabilities if p else () for p in posteriors]
        for row, posterior in enumerate(posteriors):
            if posterior is not None:
                stages[row]["read"] = posterior.probabilities
            elif self.experts_only is None or opinions[row] is None:
                raise ValueError("a row that was not read needs an opinion")
        for calibration in {id(c): c for c in calibrations if c is not None}.values():
            mine = [i for i, c in enumerate(calibrations) if c is calibration and posteriors[i]]
            table = calibration.apply([answers[i] for i in mine]).tolist() if mine else []
            for i, p in zip(mine, table, strict=True):
                answers[i] = stages[i]["calibrated"] = tuple(p)
        fused = [
            i
            for i, (posterior, opinion) in enumerate(zip(posteriors, opinions, strict=True))
            if opinion is not None and posterior is not None and self.fusion is not None
        ]
        alone = [i for i, posterior in enumerate(posteriors) if posterior is None]
        if self.experts_only is not None and (both := sorted([*alone, *fused])):
            table = self.experts_only.apply(Evidence.of([o for i in both if (o := opinions[i])]))
            for i, p in zip(both, table.tolist(), strict=True):
                stages[i]["experts"] = tuple(p)
        for i in alone:
            answers[i] = stages[i]["experts"]
        if self.fusion is not None and fused:
            model = [answers[i] for i in fused]
            together = (
                [stages[i]["experts"] for i in fused] if self.experts_only is not None else None
            )
            evidence = Evidence.of([o for i in fused if (o := opinions[i])], model, together)
            table = self.fusion.apply(evidence)
            for i, p in zip(fused, table.tolist(), strict=True):
                answers[i] = stages[i]["fused"] = tuple(p)
        novelty = self._novelty(answers, posteriors, opinions)
        both_asked = set(fused)
        return [
            Decision(
                answers[i],
                stages[i],
                "fused" if i in both_asked else "model" if posteriors[i] else "experts",
                accepted=self._accepts(max(answers[i]), novelty[i]),
                prediction_set=()
                if self.set_from is None
                else tuple(prediction_set(answers[i], self.set_from)),
                novelty=novelty[i],
            )
            for i in range(n)
        ]

    def _accepts(self, confidence: float, novelty: float | None) -> bool:
        if self.novel_below is not None and novelty is not None and novelty < self.novel_below:
            return False
        return self.accept_from is None or confidence >= self.accept_from

    def _novelty(
        self,
        answers: Sequence[tuple[float, ...]],
        posteriors: Sequence[Posterior | None],
        opinions: Sequence[Opinion | None],
    ) -> list[float | None]:
        out: list[float | None] = [None] * len(answers)
        mine = [i for i, opinion in enumerate(opinions) if opinion is not None]
        if self.novelty is None or not mine:
            return out
        masses = [p.label_mass if (p := posteriors[i]) else None for i in mine]
        rows = novelty_signs(
            [o.similarity for i in mine if (o := opinions[i])],
            [answers[i] for i in mine],
            [np.nan if mass is None else mass for mass in masses],
        )
        for i, p_value in zip(mine, self.novelty.p_value(rows).tolist(), strict=True):
            out[i] = p_value
        return out


__all__ = ["Decision", "DecisionPolicy"]
