"""Expected calibration error (three binnings) and the reliability curve.

The confidence of a row is its highest probability; it is right when that label is the gold one.
``ece`` uses 15 bins of equal width, ``ece_adaptive`` 15 bins of equal rows, ``ece_classwise``
averages the error of each label's own probability over the labels. All three are biased upward
on few rows: a perfectly calibrated system does not score 0.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b", "a", "b"], probabilities=[[.9, .1], [.9, .1], [.6, .4], [.4, .6]])
>>> round(ece(p).value, 3)
0.4
>>> [(b.n, round(b.confidence, 2), b.accuracy) for b in reliability_curve(p, bins=5)]
[(2, 0.6, 1.0), (2, 0.9, 0.5)]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.base import (
    MANY_LABELS,
    Distributions,
    Metric,
    Ranking,
    RowWeights,
    Statistic,
    on_distributions,
    ratio,
)
from ecomfs_eval.metrics.score import ConfidenceInterval, Undefined
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions

BINS = 15


def _width_bins(values: FloatArray, bins: int) -> IntArray:
    """Bin of each value in (0, 1], equal width, upper edge included.

    A value up to 1e-9 above an edge belongs to the bin below: 0.6 from a division must be in the
    same bin as a literal 0.6.
    """
    at: IntArray = np.clip(np.ceil(values * bins - 1e-9) - 1, 0, bins - 1).astype(np.int64)
    return at


def _binned_error(gap: FloatArray, at: IntArray, bins: int, total: FloatArray) -> FloatArray:
    """B values of Σ over bins |Σ gap in the bin| / total, for B × U gaps in bins ``at``."""
    offset = np.arange(gap.shape[0])[:, None] * bins
    flat = (np.broadcast_to(at, gap.shape) + offset).ravel()
    sums = np.bincount(flat, gap.ravel(), minlength=gap.shape[0] * bins)
    return ratio(np.abs(sums.reshape(-1, bins)).sum(axis=1), total)


def _top(d: Distributions) -> tuple[FloatArray, FloatArray]:
    """The confidence of each row, and whether its most probable label is right."""
    return d.table.max(axis=1), (d.table.argmax(axis=1) == d.gold).astype(np.float64)


@on_distributions
def _width(d: Distributions) -> Statistic:
    confidence, right = _top(d)
    at = _width_bins(confidence, BINS)

    def evaluate(weights: RowWeights) -> FloatArray:
        picked = weights[:, d.rows]
        return _binned_error(picked * (confidence - right), at, BINS, picked.sum(axis=1))

    return Statistic(evaluate, d.rows.size, d.note)


@on_distributions
def _mass(d: Distributions) -> Statistic:
    confidence, right = _top(d)
    ranking = Ranking(confidence, d.rows, descending=False)

    def evaluate(weights: RowWeights) -> FloatArray:
        mass = ranking.sums(weights)
        gap = ranking.sums(weights, confidence - right)
        total = mass.sum(axis=1)
        # Rows of equal confidence share a bin, so the order of the file does not matter.
        middle = ratio(mass.cumsum(axis=1) - mass / 2, total[:, None])
        at = np.clip((np.nan_to_num(middle) * BINS).astype(np.int64), 0, BINS - 1)
        return _binned_error(gap, at, BINS, total)

    return Statistic(evaluate, d.rows.size, d.note)


@on_distributions
def _classwise(d: Distributions) -> Statistic:
    labels = d.table.shape[1]
    gap = d.table - np.eye(labels)[d.gold]
    at = _width_bins(d.table, BINS)

    def evaluate(weights: RowWeights) -> FloatArray:
        picked = weights[:, d.rows]
        total = picked.sum(axis=1)
        errors = [_binned_error(picked * gap[:, c], at[:, c], BINS, total) for c in range(labels)]
        mean: FloatArray = np.stack(errors).mean(axis=0)
        return mean

    return Statistic(evaluate, d.rows.size, d.note, heavy=labels > MANY_LABELS)


ece = Metric(
    "ece",
    "Calibration error (ECE)",
    "Σ over 15 equal-width confidence bins of (share of rows) · |mean confidence − share right|",
    "Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599",
    _width,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
    title_zh="校准误差（ECE）",
)
ece_adaptive = Metric(
    "ece_adaptive",
    "Calibration error, adaptive",
    "as ECE with 15 bins of equal rows (equal confidences stay together)",
    "Nixon et al. 2019, arXiv:1904.01685",
    _mass,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
    title_zh="校准误差（自适应）",
)
ece_classwise = Metric(
    "ece_classwise",
    "Calibration error, classwise",
    "mean over the labels of the ECE of the label's own probability",
    "Kull et al. 2019, arXiv:1910.12656",
    _classwise,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
    title_zh="校准误差（逐类）",
)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of confidence: its rows, mean confidence, share right, and the Wilson interval of
    that share."""

    n: int
    confidence: float
    accuracy: float
    interval: ConfidenceInterval


def reliability_curve(
    p: Predictions, bins: int = 10, level: float = 0.95
) -> tuple[ReliabilityBin, ...] | Undefined:
    """Accuracy against mean confidence in equal-width bins; empty bins are left out.

    Args:
        p: the predictions.
        bins: number of bins.
        level: nominal coverage of the Wilson interval of each bin.

    Raises:
        OptionError: fewer than one bin.

    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of(["a", "b"], probabilities=[[0.9, 0.1], [0.8, 0.2]])
    >>> [(b.n, round(b.confidence, 2), b.accuracy) for b in reliability_curve(p, bins=2)]
    [(2, 0.85, 0.5)]
    """
    if bins < 1:
        raise OptionError(f"bins={bins}", hint="one or more")
    return _bins(p, bins, level)


@on_distributions
def _bins(d: Distributions, bins: int, level: float) -> tuple[ReliabilityBin, ...]:
    from ecomfs_eval.intervals import wilson

    confidence, right = _top(d)
    at = _width_bins(confidence, bins)
    found = []
    for b in np.unique(at):
        inside = at == b
        n, hits = int(inside.sum()), int(right[inside].sum())
        found.append(
            ReliabilityBin(n, float(confidence[inside].mean()), hits / n, wilson(hits, n, level))
        )
    return tuple(found)
