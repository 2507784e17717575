"""ROC curve and the area under it: binary, and one-vs-rest over several classes.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of([0, 0, 1, 1], probabilities=[[.9, .1], [.6, .4], [.65, .35], [.2, .8]])
>>> roc_auc(p).value
0.75
>>> one = Predictions.of(["1", "1"], probabilities=[[.1, .9], [.3, .7]], labels=["0", "1"])
>>> roc_auc(one).reason
"only one class in gold ('1')"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.base import (
    MANY_LABELS,
    Metric,
    RowWeights,
    Statistic,
    ratio,
    with_distribution,
)
from ecomfs_eval.metrics.counts import one_class
from ecomfs_eval.metrics.ranked import Ranking
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions

AreaFunction = Callable[[Ranking, FloatArray, RowWeights], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """Attributes:
    label: the class that counts as positive.
    fpr, tpr: false and true positive rates from (0, 0) to (1, 1), one point per distinct score.
    thresholds: the score at or above which a row is called positive; ``inf`` for the first.
    auc: area under the curve.
    """

    label: str
    fpr: FloatArray
    tpr: FloatArray
    thresholds: FloatArray
    auc: float


def area(ranking: Ranking, positive: FloatArray, weights: RowWeights) -> FloatArray:
    """B areas: the probability that a positive ranks above a negative; a tie counts half."""
    every = ranking.sums(weights)
    up, at = ranking.of_some(weights, positive)
    above = every.cumsum(axis=1)
    # Half of its own ties and all rows below it, less the positives among them.
    beaten = above[:, -1:] - above[:, at] + every[:, at] / 2
    ups = up.cumsum(axis=1)
    beaten -= ups[:, -1:] - ups + up / 2
    return ratio((up * beaten).sum(axis=1), ups[:, -1] * (above[:, -1] - ups[:, -1]))


def roc_curve(p: Predictions, label: str | None = None) -> RocCurve | Undefined:
    """The ROC curve of one class against the rest.

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
    >>> roc_curve(p).auc
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
    if positive.min() == positive.max():
        return Undefined(f"gold has no row of {'another class' if positive[0] else repr(label)}")
    ranking = Ranking(table[:, at], rows)
    weights = np.ones((1, len(p)))
    up = ranking.sums(weights, positive)[0].cumsum()
    down = ranking.sums(weights, 1 - positive)[0].cumsum()
    return RocCurve(
        label,
        np.r_[0.0, down / down[-1]],
        np.r_[0.0, up / up[-1]],
        np.r_[np.inf, ranking.values],
        float(area(ranking, positive, weights)[0]),
    )


def one_vs_rest(
    p: Predictions,
    table: FloatArray,
    rows: IntArray,
    note: str,
    area_of: AreaFunction,
) -> Statistic | Undefined:
    """The mean of an area over the classes in gold (binary: of the positive class only)."""
    gold = p.gold_index[rows]
    present = np.unique(gold)
    if present.size < 2:
        return Undefined(one_class(p))
    absent = len(p.labels) - present.size
    if p.positive is not None:
        classes = [p.labels.index(p.positive)]
        if classes[0] not in present:
            return Undefined(f"gold has no row of {p.positive!r}")
        absent = 0
    else:
        classes = [int(c) for c in present]
    rankings = [(Ranking(table[:, c], rows), (gold == c).astype(np.float64)) for c in classes]
    if absent:
        extra = f"{absent} labels are not in gold and are left out of the mean"
        note = "; ".join(x for x in (note, extra) if x)

    def evaluate(weights: RowWeights) -> FloatArray:
        areas = np.stack([area_of(r, positive, weights) for r, positive in rankings])
        there = ~np.isnan(areas)
        return ratio(np.where(there, areas, 0).sum(axis=0), there.sum(axis=0))

    return Statistic(evaluate, rows.size, note, heavy=len(classes) > MANY_LABELS)


def _prepare(p: Predictions) -> Statistic | Undefined:
    got = with_distribution(p)
    return got if isinstance(got, Undefined) else one_vs_rest(p, *got, area)


roc_auc = Metric(
    "roc_auc",
    "ROC AUC",
    "chance that a row of the class gets a higher probability of it than a row of another, half "
    "for a tie; several classes: unweighted mean of one-vs-rest over the classes in gold",
    "Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747; one-vs-rest: Provost & "
    "Domingos 2000",
    _prepare,
    unit="score",
    needs="probabilities",
)
