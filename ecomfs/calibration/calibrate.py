"""Calibration of label bias and confidence, without gradients.

A language model prefers some answers, whatever the row: common words, words that stand last
in the prompt. The bias shows as a mean posterior that differs from the share of the labels. One
offset per label, added to the log-probabilities, makes the two agree; how much of it is applied
is chosen by held-out log loss. Then one temperature corrects the confidence.

Source: the idea of batch calibration (Zhou et al. 2023, arXiv:2309.17249), with the batch
replaced by leave-one-out readings of labelled examples, whose label shares are known.
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
"""With fewer readings nothing is estimated: the noise would be larger than it."""

PER_LABEL = 2
"""With fewer readings per label no bias is estimated: on 77 labels 48 readings made it worse."""

FOLDS = 8
"""Parts that are judged by what was fitted on the others. What is fitted on half of 32 examples is
worse than what new rows get, more so for the model than for the experts, which it would cost
weight."""

MANY = 200
"""From so many examples on two parts do."""

TEMPERATURE_SPREAD = 0.35
"""Standard deviation of the prior on the log of the temperature."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Offsets on log-probabilities, and a temperature.

    Attributes:
        offsets: one per label, in nats, already scaled by ``strength``.
        strength: share of the estimated bias that is taken off, 0 to 1.
        readings: how many readings it was estimated on.
        temperature: what the log-probabilities are divided by; above 1 where the model is
            overconfident.

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
        """Calibrated distributions of one row, shape (L,), or of many, shape (n, L)."""
        return softmax((log_scores(probabilities) + np.array(self.offsets)) / self.temperature)


def fit_calibration(
    posteriors: Sequence[Sequence[float]],
    labels: Sequence[int],
    weights: ArrayLike | None = None,
) -> Calibration | None:
    """The bias and the temperature seen in leave-one-out posteriors of labelled examples.

    The strength is the one with the least log loss when offsets from one half of the examples
    are applied to the other, both ways; the offsets are then estimated on all of them. The
    temperature has the least log loss after that, under a prior that keeps it near 1 where the
    readings are few.

    Args:
        posteriors: n × L, each row sums to one.
        labels: n positions of the true labels.
        weights: how many examples each stands for (see :func:`weights_of`); ``None``: itself.

    Returns:
        ``None`` when there are fewer than :data:`MINIMUM` readings.

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
    """How many examples each of n stands for, n in all: where hard ones are read more often, each
    counts by the inverse of its probability.

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
    """Calibrated distributions of labelled examples, shape (n, L): each part by what was estimated
    on the others, so that they look neither better nor worse than those of new rows.

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
    from scipy.optimize import minimize_scalar  # a fifth of a second that only a fit needs

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
    """Positions of two halves of the rows with the same mix of labels: what is fitted on one is
    judged on the other."""
    order = np.argsort(truth, kind="stable")
    return order[::2], order[1::2]


def folds(truth: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """:data:`FOLDS` parts of the rows with the same mix of labels (of :data:`MANY` rows, two), each
    with all other rows: what is fitted on these is judged on the part.

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
    """Offsets under which the mean posterior equals the label shares (with one example of every
    label added to both, so that a label seen rarely is not pushed to an extreme)."""
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
    """Logarithms of probabilities, of which none is taken to be below 1e-9.

    >>> log_scores([1.0, 0.0]).round(1).tolist()
    [0.0, -20.7]
    """
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), FLOOR))


def softmax(log_p: ArrayLike) -> FloatArray:
    """Distributions of unnormalised log-probabilities, along the last axis.

    >>> softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    table = np.asarray(log_p, dtype=np.float64)
    shifted = np.exp(table - table.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
