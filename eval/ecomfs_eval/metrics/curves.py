"""ROC and precision–recall curves and the areas under them: binary, and one-vs-rest for several
classes.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of([0, 0, 1, 1], probabilities=[[.9, .1], [.6, .4], [.65, .35], [.2, .8]])
>>> roc_auc(p).value, round(pr_auc(p).value, 4)
(0.75, 0.8333)
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
    Distributions,
    Metric,
    Ranking,
    RowWeights,
    Statistic,
    on_distributions,
    ratio,
)
from ecomfs_eval.metrics.counts import one_class
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

AreaFunction = Callable[[Ranking, FloatArray, RowWeights], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """The ROC curve of one class.

    Attributes:
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


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecallCurve:
    """The precision–recall curve of one class.

    Attributes:
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


def area(ranking: Ranking, positive: FloatArray, weights: RowWeights) -> FloatArray:
    """B areas: the probability that a positive ranks above a negative; a tie counts half."""
    every = ranking.sums(weights)
    up, at = ranking.of_some(weights, positive)
    above = every.cumsum(axis=1)
    # All rows below each positive plus half of its ties, minus the positives among them.
    beaten = above[:, -1:] - above[:, at] + every[:, at] / 2
    ups = up.cumsum(axis=1)
    beaten -= ups[:, -1:] - ups + up / 2
    return ratio((up * beaten).sum(axis=1), ups[:, -1] * (above[:, -1] - ups[:, -1]))


def average_precision(ranking: Ranking, positive: FloatArray, weights: RowWeights) -> FloatArray:
    """B values of Σ (recall step) · precision over the distinct scores, highest first."""
    up, at = ranking.of_some(weights, positive)
    called = ranking.sums(weights).cumsum(axis=1)[:, at]
    precision = np.nan_to_num(ratio(up.cumsum(axis=1), called))
    return ratio((up * precision).sum(axis=1), up.sum(axis=1))


def roc_curve(p: Predictions, label: str | None = None) -> RocCurve | Undefined:
    """The ROC curve of one class against the rest.

    Args:
        p: the predictions.
        label: the positive class; by default that of the predictions.

    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of([0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]])
    >>> roc_curve(p).auc
    1.0
    """
    got = _one_class_ranked(p, label)
    if isinstance(got, Undefined):
        return got
    label, ranking, positive = got
    if positive.all():
        return Undefined("gold has no row of another class")
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


def precision_recall_curve(
    p: Predictions, label: str | None = None
) -> PrecisionRecallCurve | Undefined:
    """The precision–recall curve of one class against the rest.

    Args:
        p: the predictions.
        label: the positive class; by default that of the predictions.

    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of([0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]])
    >>> precision_recall_curve(p).average_precision
    1.0
    """
    got = _one_class_ranked(p, label)
    if isinstance(got, Undefined):
        return got
    label, ranking, positive = got
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


def _one_class_ranked(
    p: Predictions, label: str | None
) -> tuple[str, Ranking, FloatArray] | Undefined:
    """The positive class, the rows ranked by its probability, and which of them have it."""
    label = label if label is not None else p.positive
    if label is None:
        return Undefined("more than two labels and no class named as positive")
    return _ranked(p, label)


@on_distributions
def _ranked(d: Distributions, label: str) -> tuple[str, Ranking, FloatArray] | Undefined:
    at = d.p.labels.index(label)
    positive = (d.gold == at).astype(np.float64)
    if not positive.any():
        return Undefined(f"gold has no row of {label!r}")
    return label, Ranking(d.table[:, at], d.rows), positive


@on_distributions
def _one_vs_rest(d: Distributions, area_of: AreaFunction) -> Statistic | Undefined:
    """The mean of an area over the classes in gold (binary: of the positive class only)."""
    present = np.unique(d.gold)
    if present.size < 2:
        return Undefined(one_class(d.p))
    classes, note = present.tolist(), d.note
    if d.p.positive is not None:
        classes = [d.p.labels.index(d.p.positive)]
        if classes[0] not in present:
            return Undefined(f"gold has no row of {d.p.positive!r}")
    elif absent := len(d.p.labels) - present.size:
        extra = f"{absent} labels are not in gold and are left out of the mean"
        note = "; ".join(x for x in (note, extra) if x)
    rankings = [(Ranking(d.table[:, c], d.rows), (d.gold == c).astype(float)) for c in classes]

    def evaluate(weights: RowWeights) -> FloatArray:
        areas = np.stack([area_of(r, positive, weights) for r, positive in rankings])
        there = ~np.isnan(areas)
        return ratio(np.where(there, areas, 0).sum(axis=0), there.sum(axis=0))

    return Statistic(evaluate, d.rows.size, note, heavy=len(classes) > MANY_LABELS)


roc_auc = Metric(
    "roc_auc",
    "ROC AUC",
    "probability that a row of the class has a higher score for it than a row of another class; "
    "ties count half; several classes: unweighted mean of one-vs-rest over the classes in gold",
    "Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747; one-vs-rest: Provost & "
    "Domingos 2000",
    lambda p: _one_vs_rest(p, area),
    unit="score",
    needs="probabilities",
    title_zh="ROC AUC",
)
pr_auc = Metric(
    "pr_auc",
    "PR AUC (average precision)",
    "Σ (recall step) · precision over the distinct probabilities, highest first; several classes: "
    "unweighted mean of one-vs-rest over the classes in gold",
    "Davis & Goadrich 2006, doi:10.1145/1143844.1143874 (steps, no linear interpolation)",
    lambda p: _one_vs_rest(p, average_precision),
    unit="score",
    needs="probabilities",
    title_zh="PR AUC（平均精确率）",
)
