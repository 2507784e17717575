"""Calibration without gradients: the label bias of a model, estimated and taken off.

A language model likes some answers more than others whatever the row says: common words, words
that stand last in the prompt. The bias shows as a mean posterior that differs from the share of
the labels. One offset a label, added to the log-probabilities, makes the two agree; how much of
it to apply is chosen where it can be seen to help.

Source: the idea of batch calibration (Zhou et al. 2023, arXiv:2309.17249), with the batch
replaced by leave-one-out readings of labelled examples, whose label shares are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
FLOOR = 1e-9
MINIMUM = 8
"""With fewer readings no bias is estimated: the noise would be larger than it."""


@dataclass(frozen=True, slots=True)
class LabelBias:
    """Offsets on log-probabilities.

    Attributes:
        offsets: one a label, in nats, already scaled by ``strength``.
        strength: share of the estimated bias that is taken off, 0 to 1.
        readings: how many readings it was estimated on.

    >>> [round(p, 3) for p in LabelBias((0.0, 1.0), 1.0, 64).apply((0.6, 0.4))]
    [0.356, 0.644]
    """

    offsets: tuple[float, ...]
    strength: float
    readings: int

    def apply(self, probabilities: Sequence[float]) -> tuple[float, ...]:
        """The distribution without the bias; sums to one."""
        log_p = np.log(np.maximum(probabilities, FLOOR)) + np.array(self.offsets)
        return tuple(_softmax(log_p[None, :])[0].tolist())


def fit_label_bias(
    posteriors: Sequence[Sequence[float]], labels: Sequence[int]
) -> LabelBias | None:
    """The bias seen in leave-one-out posteriors of labelled examples.

    The strength is the one with the least log loss when offsets from one half of the examples
    are applied to the other, both ways; the offsets are then estimated on all of them.

    Args:
        posteriors: n × L, each row sums to one.
        labels: n positions of the true labels.

    Returns:
        ``None`` when there are fewer than :data:`MINIMUM` readings, or when no strength above 0
        helps.

    >>> biased = [(0.8, 0.2), (0.9, 0.1), (0.6, 0.4), (0.5, 0.5)] * 4
    >>> bias = fit_label_bias(biased, [0, 0, 1, 1] * 4)
    >>> bias.strength, bias.apply((0.6, 0.4))[1] > 0.5
    (1.0, True)
    """
    if len(posteriors) < MINIMUM:
        return None
    log_p = np.log(np.maximum(np.asarray(posteriors, dtype=np.float64), FLOOR))
    truth = np.asarray(labels)
    strength = _choose_strength(log_p, truth)
    if strength == 0.0:
        return None
    offsets = strength * _offsets(log_p, truth)
    return LabelBias(tuple(offsets.tolist()), strength, len(truth))


def _choose_strength(log_p: Floats, truth: NDArray[np.int64]) -> float:
    order = np.argsort(truth, kind="stable")  # halves with the same mix of labels
    halves = (order[::2], order[1::2])
    loss = dict.fromkeys(STRENGTHS, 0.0)
    for fitted, held in (halves, halves[::-1]):
        offsets = _offsets(log_p[fitted], truth[fitted])
        for strength in STRENGTHS:
            p = _softmax(log_p[held] + strength * offsets)
            loss[strength] -= float(np.log(p[np.arange(len(held)), truth[held]]).sum())
    return min(STRENGTHS, key=lambda s: (loss[s], s))


def _offsets(log_p: Floats, truth: NDArray[np.int64]) -> Floats:
    """Offsets under which the mean posterior equals the label shares (with one example of every
    label added to both, so that a label seen rarely is not pushed to an extreme)."""
    n, size = log_p.shape
    share = (np.bincount(truth, minlength=size) + 1.0) / (n + size)
    offsets = np.zeros(size)
    for _ in range(200):
        mean = (_softmax(log_p + offsets).sum(axis=0) + 1.0) / (n + size)
        step = np.log(share) - np.log(mean)
        offsets += 0.5 * step
        if np.abs(step).max() < 1e-6:
            break
    return np.asarray(offsets - offsets.mean())


def _softmax(log_p: Floats) -> Floats:
    shifted = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
