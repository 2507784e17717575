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
from ecomfs.errors import ConfigError
from ecomfs.experts import Experts
from ecomfs.pipeline import RowState
from ecomfs.types import Posterior

Floats = NDArray[np.float64]
Reading = tuple[int, RowState, Posterior]
"""A leave-one-out reading: position of the true label, the state, the posterior as it was read."""
Kept = Sequence[Reading]

NEVER = 2.0
"""A confidence that no row reaches."""


@dataclass(frozen=True, slots=True)
class Guarantees:
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
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"{name} is {value}", hint="use a number between 0 and 1")
        if self.max_loss is not None and not self.fusion:
            raise ConfigError("max_loss needs the experts", hint="leave fusion on")


def promise(
    policy: Policy,
    experts: Experts | None,
    kept: Kept,
    fused: Floats,
    truth: NDArray[np.int64],
    guarantees: Guarantees,
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
    if guarantees.max_loss is not None and experts is not None and policy.cheap is not None:
        votes, scores, labels = experts.own()
        known = np.bincount(labels, minlength=len(experts.labels)) >= PER_LABEL
        alone = Evidence(np.full_like(votes, np.nan), votes, scores)
        answers = cross_fitted(
            alone, labels, policy.cheap.shares, PRIOR_CHEAP, usable=known[labels]
        )
        skip = skip_threshold(
            answers.max(axis=1), answers.argmax(axis=1) == labels, guarantees.max_loss
        )
        if skip is None:
            notes.append(
                f"the experts may not answer alone: {len(labels)} examples do not show a loss of "
                f"at most {guarantees.max_loss:.1%} (at least {round(1 / guarantees.max_loss) - 1} are "
                "needed, and sure answers that are right)"
            )
    if guarantees.precision is not None:
        accept = accept_threshold(
            fused.max(axis=1, initial=0.0), fused.argmax(axis=1) == truth, guarantees.precision
        )
        if accept is None:
            notes.append(
                f"{len(truth)} readings do not show a precision of {guarantees.precision:.0%} at any "
                "threshold: every row abstains and needs review; label more, or promise less"
            )
    policy = replace(
        policy,
        skip_from=None if skip is None else skip.value,
        accept_from=policy.accept_from
        if guarantees.precision is None
        else (NEVER if accept is None else accept.value),
        set_from=None
        if guarantees.coverage is None
        else set_threshold(fused[np.arange(len(truth)), truth], guarantees.coverage),
    )
    if guarantees.novel_below is not None or len(kept) >= MINIMUM:
        policy = _with_novelty(policy, kept, fused, guarantees, notes)
    return policy, skip, accept


def _with_novelty(
    policy: Policy, kept: Kept, fused: Floats, guarantees: Guarantees, notes: list[str]
) -> Policy:
    opinions = [state.opinion for _, state, _ in kept if state.opinion is not None]
    if len(opinions) < len(kept) or len(kept) < MINIMUM:
        if guarantees.novel_below is not None:
            notes.append(
                f"{len(opinions)} readings with neighbours are too few to tell rows that belong "
                f"to no label (at least {MINIMUM})"
            )
        return policy
    masses = [np.nan if p.label_mass is None else p.label_mass for _, _, p in kept]
    known = signs([o.similarity for o in opinions], fused, masses)
    return replace(policy, novelty=Novelty.fit(known), novel_below=guarantees.novel_below)


__all__ = ["NEVER", "Guarantees", "Kept", "Reading", "promise"]
