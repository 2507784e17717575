"""What a user asks to be promised, and the thresholds that keep it (or a note that none can)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import (
    PER_LABEL,
    PRIOR_CHEAP,
    Evidence,
    Novelty,
    Policy,
    Threshold,
    accept_threshold,
    cross_fitted,
    set_threshold,
    signs,
    skip_threshold,
)
from ecomfs.calibration.novelty import MINIMUM
from ecomfs.core.options import OPTIONS
from ecomfs.errors import ConfigError
from ecomfs.experts import Experts
from ecomfs.pipeline import Case
from ecomfs.types import Posterior

Floats = NDArray[np.float64]
Reading = tuple[int, Case, Posterior]
"""A leave-one-out reading: position of the true label, the case, the posterior as it was read."""
Kept = Sequence[Reading]

NEVER = 2.0
"""A confidence that no row reaches."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a fit shall provide.

    Attributes:
        fusion: whether the neighbours' vote and the linear probe speak beside the model.
        max_loss: most accuracy, as a share, that may be lost by letting sure experts answer
            without the model; ``None``: the model reads every row.
        precision: of the rows that are accepted without a person; ``None``: all are accepted.
        coverage: of the prediction sets; ``None``: none are made.
        novel_below: rows that belong to no label with a p-value below this abstain;
            ``None``: none are.
    """

    fusion: bool = True
    max_loss: float | None = None
    precision: float | None = None
    coverage: float | None = None
    novel_below: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_loss", "precision", "coverage", "novel_below"):
            OPTIONS[name].check(getattr(self, name))
        if self.max_loss is not None and not self.fusion:
            raise ConfigError("max_loss needs the experts", hint="leave fusion on")


def promise(
    policy: Policy,
    experts: Experts | None,
    kept: Kept,
    fused: Floats,
    truth: NDArray[np.int64],
    wanted: Wanted,
    notes: list[str],
) -> tuple[Policy, Threshold | None, Threshold | None]:
    """Thresholds for what was asked to be promised.

    Args:
        fused: distributions of the readings by weights that did not see them, shape (n, L).
        truth: positions of their true labels.
        notes: what could not be promised is added here.

    Returns:
        The policy with its thresholds, and the two that say what was seen.
    """
    skip = accept = None
    if wanted.max_loss is not None and experts is not None and policy.cheap is not None:
        votes, scores, labels = experts.own()
        known = np.bincount(labels, minlength=len(experts.labels)) >= PER_LABEL
        alone = Evidence(np.full_like(votes, np.nan), votes, scores)
        answers = cross_fitted(
            alone, labels, policy.cheap.shares, PRIOR_CHEAP, usable=known[labels]
        )
        skip = skip_threshold(
            answers.max(axis=1), answers.argmax(axis=1) == labels, wanted.max_loss
        )
        if skip is None:
            notes.append(
                f"the experts may not answer alone: {len(labels)} examples do not show a loss of "
                f"at most {wanted.max_loss:.1%} (at least {round(1 / wanted.max_loss) - 1} are "
                "needed, and sure answers that are right)"
            )
    if wanted.precision is not None:
        accept = accept_threshold(
            fused.max(axis=1, initial=0.0), fused.argmax(axis=1) == truth, wanted.precision
        )
        if accept is None:
            notes.append(
                f"{len(truth)} readings do not show a precision of {wanted.precision:.0%} at any "
                "threshold: every row abstains and needs review; label more, or promise less"
            )
    policy = replace(
        policy,
        skip_from=None if skip is None else skip.value,
        accept_from=policy.accept_from
        if wanted.precision is None
        else (NEVER if accept is None else accept.value),
        set_from=None
        if wanted.coverage is None
        else set_threshold(fused[np.arange(len(truth)), truth], wanted.coverage),
    )
    if wanted.novel_below is not None or len(kept) >= MINIMUM:
        policy = _with_novelty(policy, kept, fused, wanted, notes)
    return policy, skip, accept


def _with_novelty(
    policy: Policy, kept: Kept, fused: Floats, wanted: Wanted, notes: list[str]
) -> Policy:
    opinions = [case.opinion for _, case, _ in kept if case.opinion is not None]
    if len(opinions) < len(kept) or len(kept) < MINIMUM:
        if wanted.novel_below is not None:
            notes.append(
                f"{len(opinions)} readings with neighbours are too few to tell rows that belong "
                f"to no label (at least {MINIMUM})"
            )
        return policy
    masses = [np.nan if p.label_mass is None else p.label_mass for _, _, p in kept]
    known = signs([o.similarity for o in opinions], fused, masses)
    return replace(policy, novelty=Novelty.fit(known), novel_below=wanted.novel_below)


__all__ = ["NEVER", "Kept", "Reading", "Wanted", "promise"]
