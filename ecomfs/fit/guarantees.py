"""The guarantees a user asks for, and the thresholds that keep them (or a note that none can)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import (
    DecisionPolicy,
    FloatArray,
    Novelty,
    Threshold,
    accept_threshold,
    set_threshold,
    signs,
    skip_threshold,
)
from ecomfs.calibration.novelty import MINIMUM
from ecomfs.core.options import OPTIONS
from ecomfs.errors import ConfigError
from ecomfs.pipeline import RowState, draws_alike
from ecomfs.types import Posterior

NEVER = 2.0
"""A confidence that no row reaches."""


class LeftOut(NamedTuple):
    """An example that was read leave-one-out: the position of its true label, its state, and the
    posterior as it was read."""

    label: int
    state: RowState
    posterior: Posterior


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What a fit shall provide.

    Attributes:
        fusion: whether the experts answer together with the model.
        max_loss: most accuracy, as a share, that may be lost by letting sure experts answer
            without the model; ``None``: the model reads every row.
        precision: of the rows that are accepted without review; ``None``: all are accepted.
        coverage: of the prediction sets; ``None``: none are made.
        novel_below: rows that belong to no label with a p-value below this abstain;
            ``None``: none are.

    Raises:
        ConfigError: a number that is not between 0 and 1, or ``max_loss`` without fusion.

    >>> Guarantees(precision=0.95).precision
    0.95
    """

    fusion: bool = True
    max_loss: float | None = None
    precision: float | None = None
    coverage: float | None = None
    novel_below: float | None = None

    @property
    def draws_alike(self) -> bool:
        """Whether the examples that are read have to be drawn alike."""
        return draws_alike(asdict(self))

    def __post_init__(self) -> None:
        for name in ("max_loss", "precision", "coverage", "novel_below"):
            OPTIONS[name].check(getattr(self, name))
        if self.max_loss is not None and not self.fusion:
            raise ConfigError("max_loss needs the experts", hint="leave fusion on")


def fit_skip_threshold(
    guarantees: Guarantees,
    answers: FloatArray,
    labels: NDArray[np.int64],
    notes: list[str],
) -> Threshold | None:
    """From which confidence on the experts may answer without the model.

    Args:
        answers: cross-fitted, leave-one-out distributions of the experts alone, shape (m, L).
        labels: positions of the true labels.
        notes: what could not be guaranteed is added here.
    """
    if guarantees.max_loss is None:
        return None
    skip = skip_threshold(
        answers.max(axis=1), answers.argmax(axis=1) == labels, guarantees.max_loss
    )
    if skip is None:
        notes.append(
            f"the experts may not answer alone: {len(labels)} examples do not show a loss of "
            f"at most {guarantees.max_loss:.1%} (at least {round(1 / guarantees.max_loss) - 1} "
            "are needed, and sure answers that are right)"
        )
    return skip


def with_thresholds(
    policy: DecisionPolicy,
    answers: FloatArray,
    truth: NDArray[np.int64],
    similarities: Sequence[float],
    masses: Sequence[float | None],
    guarantees: Guarantees,
    notes: list[str],
    what: str = "readings",
) -> tuple[DecisionPolicy, Threshold | None]:
    """Thresholds that are chosen on examples answered leave-one-out.

    Args:
        answers: their distributions by weights that did not see them, shape (n, L).
        truth: positions of their true labels.
        similarities: of the nearest example of each; fewer where some have none.
        masses: label mass of each; ``None``: unknown.
        notes: what could not be guaranteed is added here.
        what: the notes call the examples.

    Returns:
        The policy with its thresholds, and that of acceptance with what was seen.

    Examples
    --------
    >>> answers, notes = np.tile([0.9, 0.1], (40, 1)), []
    >>> policy, accept = with_thresholds(
    ...     DecisionPolicy(), answers, np.zeros(40, dtype=np.int64), [0.9] * 40, [None] * 40,
    ...     Guarantees(precision=0.8), notes)
    >>> float(accept.value), notes
    (0.9, [])
    """
    accept = None
    if guarantees.precision is not None:
        accept = accept_threshold(
            answers.max(axis=1, initial=0.0), answers.argmax(axis=1) == truth, guarantees.precision
        )
        if accept is None:
            notes.append(
                f"{len(truth)} {what} do not show a precision of {guarantees.precision:.0%} at "
                "any threshold: every row abstains and needs review; label more, or ask for less"
            )
        policy = replace(policy, accept_from=NEVER if accept is None else accept.value)
    if guarantees.coverage is not None:
        true = answers[np.arange(len(truth)), truth]
        policy = replace(policy, set_from=set_threshold(true, guarantees.coverage))
    if len(similarities) < len(truth) or len(truth) < MINIMUM:
        if guarantees.novel_below is not None:
            notes.append(
                f"{len(similarities)} {what} with neighbours are too few to tell rows that belong "
                f"to no label (at least {MINIMUM})"
            )
        return policy, accept
    known = signs(similarities, answers, [np.nan if m is None else m for m in masses])
    return replace(policy, novelty=Novelty.fit(known), novel_below=guarantees.novel_below), accept


__all__ = ["NEVER", "Guarantees", "LeftOut", "fit_skip_threshold", "with_thresholds"]
