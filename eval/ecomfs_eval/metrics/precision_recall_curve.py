"""Precision–recall curve and average precision (the area under its steps).

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of([0, 0, 1, 1], probabilities=[[.9, .1], [.6, .4], [.65, .35], [.2, .8]])
>>> round(pr_auc(p).value, 4)
0.8333
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, ratio, with_distribution
from ecomfs_eval.metrics.ranked import Ranking
from ecomfs_eval.metrics.roc import one_vs_rest
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecallCurve:
    """Attributes:
    label: the class that counts as positive.
    recall, precision: one point per distinct score, from the highest score down.
    thresholds: the score at or above which a row is called positive.
    average_precision: area under the steps of the curve.
    prevalence: share of the class in gold: the precision of a random order.
    """

    label: str
    recall: FloatArray
    precision: FloatArray
    thresholds: FloatArray
    average_precision: float
    prevalence: float


def average_precision(ranking: Ranking, positive: FloatArray, weights: RowWeights) -> FloatArray:
    """B values of Σ (recall step) · precision over the distinct scores, highest first."""
    up, at = ranking.of_some(weights, positive)
    called = ranking.sums(weights).cumsum(axis=1)[:, at]
    precision = np.nan_to_num(ratio(up.cumsum(axis=1), called))
    return ratio((up * precision).sum(axis=1), up.sum(axis=1))


def precision_recall_curve(
    p: Predictions, label: str | None = None
) -> PrecisionRecallCurve | Undefined:
    """The precision–recall curve of one class against the rest.

    Parameters
    ----------
    p
        The predictions.
    label
        The positive class; by default that of the predictions.

    Examples
    --------
    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of([0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]])
    >>> precision_recall_curve(p).average_precision
    1.0
    """
    label = label if label is not None else p.positive
    if label is None:
        return Undefined("more than two labels and no class named as positive")
    got = with_distribution(p)
    if isinstance(got, Undefined):
        return got
    table, rows, _ = got
    at = p.labels.index(label)
    positive = (p.gold_index[rows] == at).astype(np.float64)
    if positive.sum() == 0:
        return Undefined(f"gold has no row of {label!r}")
    ranking = Ranking(table[:, at], rows)
    weights = np.ones((1, len(p)))
    up = ranking.sums(weights, positive)[0].cumsum()
    return PrecisionRecallCurve(
        label,
        up / up[-1],
        up / ranking.sums(weights)[0].cumsum(),
        ranking.values,
        float(average_precision(ranking, positive, weights)[0]),
        float(positive.mean()),
    )


def _prepare(p: Predictions) -> Statistic | Undefined:
    got = with_distribution(p)
    return got if isinstance(got, Undefined) else one_vs_rest(p, *got, average_precision)


pr_auc = Metric(
    "pr_auc",
    "PR AUC (average precision)",
    "Σ (recall step) · precision down the distinct probabilities; several classes: unweighted "
    "mean of one-vs-rest over the classes in gold",
    "Davis & Goadrich 2006, doi:10.1145/1143844.1143874 (steps, no linear interpolation)",
    _prepare,
    unit="score",
    needs="probabilities",
)
