"""The guarantees, and the thresholds that give them (or a note that there is none)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import (
    DecisionPolicy,
    FloatArray,
    Novelty,
    Threshold,
    accept_threshold,
    novelty_signs,
    set_threshold,
    skip_threshold,
)
from ecomfs.calibration.novelty import MINIMUM
from ecomfs.core.options import GUARANTEES, OPTIONS, options_of
from ecomfs.errors import ConfigError
from ecomfs.pipeline import RowState, needs_uniform_draw
from ecomfs.types import Posterior

NAMES = tuple(option.name for option in options_of(groups=[GUARANTEES]))
"""Names of the guarantees."""
NEVER = 2.0
"""A threshold that no row reaches."""


class LeftOut(NamedTuple):
    """A leave-one-out reading of an example: position of the true label, state, and uncalibrated
    posterior."""

    label: int
    state: RowState
    posterior: Posterior


@dataclass(frozen=True, slots=True)
class Guarantees:
    """The guarantees that a fit must provide.

    Attributes:
        fusion: whether to fuse model and experts.
        max_loss: most accuracy (a share) that may be lost by skipping the model for confident
            experts; ``None``: the model reads every row.
        precision: least precision of the rows accepted without review; ``None``: all are accepted.
        coverage: least coverage of the prediction sets; ``None``: no sets.
        novel_below: rows abstain if their p-value of belonging to one of the labels is below this;
            ``None``: no such test.

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
    def needs_uniform_draw(self) -> bool:
        """Whether examples must be sampled uniformly."""
        return needs_uniform_draw(asdict(self))

    def __post_init__(self) -> None:
        for name in NAMES:
            OPTIONS[name].check(getattr(self, name))
        if self.max_loss is not None and not self.fusion:
            raise ConfigError("max_loss needs the experts", hint="use it with fusion")


def require_fit(
    wanted: Mapping[str, Any], readings: int, fitted: Mapping[str, Any] | None = None
) -> None:
    """Refuse guarantees that cannot be fitted: rows would be answered without them.

    Args:
        wanted: name of a guarantee → its value; ``None``: not asked for. Other options are ignored.
        readings: examples that are classified leave-one-out for the guarantees.
        fitted: the guarantees of a profile, if one is given; nothing is fitted then.

    Raises:
        ConfigError: a guarantee without readings, or one that the profile does not give.

    >>> require_fit({"precision": 0.9, "coverage": None}, readings=48)
    >>> require_fit({"precision": 0.9}, readings=0)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: precision = 0.9 is fitted on examples read leave-one-out, and ...
    """
    for name in NAMES:
        value = wanted.get(name)
        if value is None:
            continue
        if fitted is not None:
            if fitted.get(name) != value:
                raise ConfigError(
                    f"{name} = {value} together with a profile, which has its own guarantees",
                    hint=f"leave one of them out, or fit again with {name} and without a profile",
                )
        elif readings < 1:
            raise ConfigError(
                f"{name} = {value} is fitted on examples read leave-one-out, and there are none",
                hint="give labelled examples, and a calibration_size of 48 or more",
            )


def fit_skip_threshold(
    guarantees: Guarantees,
    answers: FloatArray,
    labels: NDArray[np.int64],
    notes: list[str],
) -> Threshold | None:
    """The confidence from which on the experts classify rows without the model.

    Args:
        answers: cross-fitted leave-one-out distributions of the experts alone, shape (m, L).
        labels: positions of the true labels.
        notes: a note is added if there is no such threshold.
    """
    if guarantees.max_loss is None:
        return None
    skip = skip_threshold(
        answers.max(axis=1), answers.argmax(axis=1) == labels, guarantees.max_loss
    )
    if skip is None:
        notes.append(
            f"the model reads every row: {len(labels)} examples do not show a loss of at most "
            f"{guarantees.max_loss:.1%} for the experts alone (at least "
            f"{round(1 / guarantees.max_loss) - 1} are needed, with confident, correct predictions)"
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
    """Fit the thresholds of the guarantees on leave-one-out predictions.

    Args:
        answers: cross-fitted distributions of the examples, shape (n, L).
        truth: positions of their true labels.
        similarities: similarity to the nearest example; NaN for an example without one. Empty: not
            known, so that there are no p-values of novelty.
        masses: label masses; ``None``: unknown.
        notes: a note is added for each guarantee that cannot be given.
        what: name of the examples in the notes.

    Returns:
        The policy with its thresholds, and the acceptance threshold with its evidence.

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
                "any threshold: every row abstains and needs review; label more, or ask for less "
                "precision"
            )
        policy = replace(policy, accept_from=NEVER if accept is None else accept.value)
    if guarantees.coverage is not None:
        true = answers[np.arange(len(truth)), truth]
        policy = replace(policy, set_from=set_threshold(true, guarantees.coverage))
    similar = np.asarray(similarities, dtype=np.float64)
    near = np.flatnonzero(~np.isnan(similar))  # new rows always have a nearest example
    if len(similar) < len(truth) or len(near) < MINIMUM:
        if guarantees.novel_below is not None:
            notes.append(
                f"{len(near)} {what} with neighbours are too few to detect rows that "
                f"belong to no label (at least {MINIMUM} are needed)"
            )
        return policy, accept
    mass = np.array([np.nan if m is None else m for m in masses])
    known = novelty_signs(similar[near], answers[near], mass[near])
    return replace(policy, novelty=Novelty.fit(known), novel_below=guarantees.novel_below), accept


__all__ = [
    "NAMES",
    "NEVER",
    "Guarantees",
    "LeftOut",
    "fit_skip_threshold",
    "require_fit",
    "with_thresholds",
]
