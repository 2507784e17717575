"""Early stopping of a fit: estimates how much further readings would still gain.

A fit on n readings has an excess log loss of about c / n, and a fit on half of them twice as much.
The difference in log loss on held-out readings, between fits on half of the readings and on nearly
all of them, gives an estimate of c.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
HeldLoss = Callable[[Places, Places], NDArray[np.float64]]
"""Function of fitted and held-out rows to the log loss of each held-out row."""

FIRST = 16
"""Readings before the first check."""
STEP = 8
"""Readings between two checks."""
GAIN = 0.005
"""Gain in log loss, in nats, that is not worth further readings (docs/reading.md)."""
LOOKS = 2
"""Consecutive checks below the limit: a single one is too often small by chance."""
_PARTS = 8


def remaining_gain(
    held_loss: HeldLoss, truth: Places, weights: NDArray[np.float64], most: int, seed: int
) -> float:
    """How much the log loss would still fall with ``most`` readings.

    Args:
        held_loss: fits on some readings, and returns the log loss of the others.
        truth: positions of the true labels.
        weights: weights of the readings.
        most: most readings.
        seed: seed of the split.

    >>> def learns(fitted, held):
    ...     return np.full(len(held), 0.3 + 1 / len(fitted))
    >>> truth = np.array([0, 1] * 8)
    >>> gain = remaining_gain(learns, truth, np.ones(16), 48, seed=0)
    >>> round(gain, 3) == round(1 / 16 - 1 / 48, 3)
    True
    """
    n = len(truth)
    if n >= most:
        return 0.0
    halves, nearly = (_held_back(held_loss, truth, weights, k, seed) for k in (2, _PARTS))
    c = (halves - nearly) / (2 / n - _PARTS / ((_PARTS - 1) * n))
    return max(0.0, c) * (1 / n - 1 / most)


def _held_back(
    held_loss: HeldLoss, truth: Places, weights: NDArray[np.float64], parts: int, seed: int
) -> float:
    """Mean cross-validated log loss of the readings."""
    shuffled = np.random.default_rng([seed, parts]).permutation(len(truth))
    order = shuffled[np.argsort(truth[shuffled], kind="stable")]
    loss = np.empty(len(truth))
    for part in range(parts):
        held = np.sort(order[part::parts])
        loss[held] = held_loss(np.setdiff1d(order, held), held)
    return float(np.average(loss, weights=weights))


__all__ = ["FIRST", "GAIN", "LOOKS", "STEP", "remaining_gain"]
