"""When a fit has read enough: what more readings would still gain, estimated on those there are.

What is fitted on n examples is worse than it could be by about c / n. Fitted on halves of the
readings it is worse by twice as much: the difference between the log loss of what half of them
teach and of what nearly all teach, on readings that are held back, gives c.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
HeldLoss = Callable[[Places, Places], NDArray[np.float64]]
"""From rows that are fitted on and rows that are held back to the log loss of each of these."""

FIRST = 16
"""Readings before the first look."""
STEP = 8
"""Readings between two looks."""
GAIN = 0.005
"""Nats of log loss that are not worth further readings (docs/reading.md)."""
LOOKS = 2
"""Looks in a row that have to say so: a single one is small by chance too often."""
_PARTS = 8


def remaining_gain(
    held_loss: HeldLoss, truth: Places, weights: NDArray[np.float64], most: int, seed: int
) -> float:
    """How much the log loss would still fall if ``most`` examples were read.

    Args:
        held_loss: fits on some readings, and judges the others.
        truth: positions of the true labels.
        weights: how many examples each reading stands for.
        most: the bound of the readings.
        seed: of the split.

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
    """Mean log loss of readings by what was fitted on the other parts."""
    shuffled = np.random.default_rng([seed, parts]).permutation(len(truth))
    order = shuffled[np.argsort(truth[shuffled], kind="stable")]
    loss = np.empty(len(truth))
    for part in range(parts):
        held = np.sort(order[part::parts])
        loss[held] = held_loss(np.setdiff1d(order, held), held)
    return float(np.average(loss, weights=weights))


__all__ = ["FIRST", "GAIN", "LOOKS", "STEP", "remaining_gain"]
