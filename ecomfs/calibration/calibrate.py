"""Calibration of label bias and confidence, without gradients.

A language model prefers some answers for any row, such as common words or the last label in the
prompt. This bias is the difference between the mean posterior and the label shares. One offset per
label, added to the log-probabilities, removes it; the strength of the correction is chosen by
held-out log loss. Then one temperature corrects the confidence.

Source: batch calibration (Zhou et al. 2023, arXiv:2309.17249), with the batch replaced by
leave-one-out readings of labelled examples, whose label shares are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
FLOOR = 1e-9
MINIMUM = 8
"""With fewer readings nothing is estimated: the noise would be larger than the bias."""

PER_LABEL = 2
"""With fewer readings per label no bias is estimated: for 77 labels, 48 readings gave worse
results."""

FOLDS = 8
"""Folds of cross-fitting. With two folds of 32 examples each fit would be worse than the final one,
more so for the model than for the experts, so that the model would get too little weight."""

MANY = 200
"""With this many examples or more, two folds are used."""

TEMPERATURE_SPREAD = 0.35
"""Standard deviation of the prior on the log of the temperature."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Offsets on log-probabilities, and a temperature.

    Attributes:
        offsets: one per label, in nats, already scaled by ``strength``.
        strength: share of the estimated bias that is removed, 0 to 1.
        readings: number of readings it was estimated on.
        temperature: divisor of the log-probabilities; above 1 if the model is overconfident.

    >>> Calibration((0.0, 1.0), 1.0, 64).apply([[0.6, 0.4]]).round(3).tolist()
    [[0.356, 0.644]]
    >>> Calibration((0.0, 0.0), 0.0, 64, 2.0).apply((0.9, 0.1)).round(3).tolist()
    [0.75, 0.25]
    """

    offsets: tuple[float, ...]
    strength: float
    readings: int
    temperature: float = 1.0

    def apply(self, probabilities: ArrayLike) -> FloatArray:
        """Calibrated distributions of one row, shape (L,), or of n rows, shape (n, L)."""
        return softmax((log_scores(probabilities) + np.array(self.offsets)) / self.temperature)


def fit_calibration(
    posteriors: Sequence[Sequence[float]],
    labels: Sequence[int],
    weights: ArrayLike | None = None,
) -> Calibration | None:
    """Estimate bias and temperature from leave-one-out posteriors of labelled examples.

    The strength has the least log loss when offsets from one half of the examples are applied to
    the other, both ways; the offsets are then estimated on all examples. The temperature has the
    least log loss after that, with a prior that keeps it near 1 if there are few readings.

    Args:
        posteriors: n × L, each row sums to one.
        labels: n positions of the true labels.
        weights: number of examples that each represents (see :func:`weights_of`); ``None``: 1 each.

    Returns:
        The calibration; ``None`` with fewer than :data:`MINIMUM` readings.

    >>> biased = [(0.8, 0.2), (0.9, 0.1), (0.6, 0.4), (0.5, 0.5)] * 4
    >>> found = fit_calibration(biased, [0, 0, 1, 1] * 4)
    >>> found.strength, found.temperature < 1, bool(found.apply((0.6, 0.4))[1] > 0.5)
    (1.0, True, True)
    """
    if len(posteriors) < MINIMUM:
        return None
    log_p = log_scores(posteriors)
    truth = np.asarray(labels)
    w = weights_of(weights, len(truth))
    enough = len(truth) >= PER_LABEL * log_p.shape[1]
    strength = _choose_strength(log_p, truth, w) if enough else 0.0
    offsets = strength * _offsets(log_p, truth, w) if strength else np.zeros(log_p.shape[1])
    temperature = _temperature(log_p + offsets, truth, w)
    return Calibration(tuple(offsets.tolist()), strength, len(truth), temperature)


def weights_of(weights: ArrayLike | None, n: int) -> FloatArray:
    """Weights of n examples, normalised to a sum of n. If hard examples are read more often, a
    weight is the inverse of the probability of being read.

    >>> weights_of(None, 2).tolist(), weights_of([1, 3], 2).tolist()
    ([1.0, 1.0], [0.5, 1.5])
    """
    if weights is None:
        return np.ones(n)
    w = np.asarray(weights, dtype=np.float64)
    return w * (n / w.sum()) if n else w


def cross_calibrated(
    posteriors: Sequence[Sequence[float]],
    labels: Sequence[int],
    weights: ArrayLike | None = None,
) -> FloatArray:
    """Cross-fitted calibrated distributions of labelled examples, shape (n, L), which are like
    those of new rows.

    >>> cross_calibrated([(0.9, 0.1), (0.2, 0.8)] * 10, [0, 1] * 10).shape
    (20, 2)
    """
    read, truth = np.asarray(posteriors, dtype=np.float64), np.asarray(labels)
    w, out = weights_of(weights, len(truth)), read.copy()
    for held, fitted in folds(truth):
        found = fit_calibration(read[fitted].tolist(), truth[fitted].tolist(), w[fitted])
        if found is not None:
            out[held] = found.apply(read[held])
    return out


def _temperature(log_p: FloatArray, truth: NDArray[np.int64], w: FloatArray) -> float:
    """Brent's method, which needs no derivative; the prior on log T is normal around 0."""
    from scipy.optimize import minimize_scalar  # takes 0.2 s to import, and only a fit needs it

    def loss(log_t: float) -> float:
        p = softmax(log_p / np.exp(log_t))[np.arange(len(truth)), truth]
        prior = (log_t / TEMPERATURE_SPREAD) ** 2 / (2 * len(truth))
        return float(prior - (w * np.log(np.maximum(p, FLOOR))).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def _choose_strength(log_p: FloatArray, truth: NDArray[np.int64], w: FloatArray) -> float:
    pair = halves(truth)
    loss = dict.fromkeys(STRENGTHS, 0.0)
    for fitted, held in (pair, pair[::-1]):
        offsets = _offsets(log_p[fitted], truth[fitted], w[fitted])
        for strength in STRENGTHS:
            p = softmax(log_p[held] + strength * offsets)
            given = p[np.arange(len(held)), truth[held]]
            loss[strength] -= float((w[held] * np.log(given)).sum())
    return min(STRENGTHS, key=lambda s: (loss[s], s))


def halves(truth: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of two halves of the rows, stratified by label: one to fit on, one to evaluate."""
    order = np.argsort(truth, kind="stable")
    return order[::2], order[1::2]


def folds(truth: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """:data:`FOLDS` folds of the rows, stratified by label (two from :data:`MANY` rows on). Each is
    a pair: the held-out rows, and all other rows to fit on.

    >>> [(held.tolist(), len(fitted)) for held, fitted in folds(np.array([0, 1] * 8))][:2]
    [([0, 1], 14), ([2, 3], 14)]
    """
    order = np.argsort(truth, kind="stable")
    size = min(FOLDS if len(order) < MANY else 2, len(order))
    return [
        (np.sort(order[part::size]), np.sort(np.delete(order, np.s_[part::size])))
        for part in range(size)
    ]


def _offsets(log_p: FloatArray, truth: NDArray[np.int64], w: FloatArray) -> FloatArray:
    """Offsets with which the mean posterior equals the label shares. One example of every label is
    added to both, so that the offset of a rare label is not extreme."""
    n, size = w.sum(), log_p.shape[1]
    share = (np.bincount(truth, weights=w, minlength=size) + 1.0) / (n + size)
    offsets = np.zeros(size)
    for _ in range(200):
        mean = (w @ softmax(log_p + offsets) + 1.0) / (n + size)
        step = np.log(share) - np.log(mean)
        offsets += 0.5 * step
        if np.abs(step).max() < 1e-6:
            break
    return np.asarray(offsets - offsets.mean())


def log_scores(probabilities: ArrayLike) -> FloatArray:
    """Logarithms of probabilities, clipped at 1e-9.

    >>> log_scores([1.0, 0.0]).round(1).tolist()
    [0.0, -20.7]
    """
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), FLOOR))


def softmax(log_p: ArrayLike) -> FloatArray:
    """Softmax of unnormalised log-probabilities along the last axis.

    >>> softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    table = np.asarray(log_p, dtype=np.float64)
    shifted = np.exp(table - table.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
