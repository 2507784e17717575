"""From which probability on a label is given: the threshold with the best F1, held back by a
prior where few examples have the label.

The best threshold on few readings is far from the best on new rows. It is therefore drawn
towards 0.5, on the scale of log-odds, by as much as :data:`PRIOR` further examples would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

PRIOR = 8
"""Examples with the label that the prior counts for."""
FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class LabelThreshold:
    """The threshold of one label, and what was seen.

    Attributes:
        value: probability from which on the label is given.
        best: the threshold with the best F1 on the readings; ``None`` when no example that was
            read has the label.
        f1: F1 of ``value`` on the readings it was fitted on (a little better than it is);
            ``None`` where it is undefined.
        yes: examples with the label among those read.
        readings: how many were read.
    """

    value: float = 0.5
    best: float | None = None
    f1: float | None = None
    yes: int = 0
    readings: int = 0


def fit_threshold(p: ArrayLike, truth: ArrayLike, prior: float = PRIOR) -> LabelThreshold:
    """The threshold of a label, from leave-one-out readings.

    Args:
        p: n probabilities of the label.
        truth: whether each example has it.
        prior: weight of 0.5, in examples that have the label.

    >>> found = fit_threshold([0.9, 0.3, 0.2, 0.1], [True, True, False, False], prior=0)
    >>> 0.2 < found.value < 0.3, found.f1
    (True, 1.0)
    >>> found.value < fit_threshold([0.9, 0.3, 0.2, 0.1], [True, True, False, False]).value < 0.5
    True
    """
    values, true = np.asarray(p, dtype=np.float64), np.asarray(truth, dtype=bool)
    yes = int(true.sum())
    if not yes:
        return LabelThreshold(readings=len(values))
    odds = _log_odds(values)
    points = np.unique(odds)
    cuts = np.concatenate([[0.0, points[0] - 1.0], (points[:-1] + points[1:]) / 2])
    scores = np.array([_f1(odds >= cut, true) for cut in cuts])
    # Of equally good thresholds the one that says least against 0.5.
    best = min(np.flatnonzero(scores == scores.max()), key=lambda i: abs(cuts[i]))
    drawn = float(cuts[best]) * yes / (yes + prior)
    return LabelThreshold(
        _probability(drawn),
        _probability(float(cuts[best])),
        _f1(odds >= drawn, true),
        yes,
        len(values),
    )


def _f1(given: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float(2 * (given & true).sum() / (given.sum() + true.sum()))


def _log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(p, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(kept / (1 - kept)))


def _probability(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


__all__ = ["PRIOR", "LabelThreshold", "fit_threshold"]
