"""Metrics of predictions.

Each :class:`Metric` is callable and returns a :class:`Score`: a value, or ``None`` with the reason.

>>> get_metric("brier").definition
'mean of Σ over labels (probability − truth)²; halved for two labels'
>>> get_metric("ndcg@5").name
'ndcg@5'
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.accuracy import (
    abstained_rate,
    accuracy,
    accuracy_answered,
    answered_rate,
    failed_rate,
    invalid_rate,
)
from ecomfs_eval.metrics.balanced_accuracy import balanced_accuracy
from ecomfs_eval.metrics.base import Metric, Statistic
from ecomfs_eval.metrics.brier import brier
from ecomfs_eval.metrics.calibration import (
    ReliabilityBin,
    ece,
    ece_adaptive,
    ece_classwise,
    reliability_curve,
)
from ecomfs_eval.metrics.confusion import confusion_matrix
from ecomfs_eval.metrics.curves import (
    PrecisionRecallCurve,
    RocCurve,
    pr_auc,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from ecomfs_eval.metrics.hierarchy import f1_hierarchical, level_accuracy_at
from ecomfs_eval.metrics.label_sets import hamming_loss, jaccard, subset_accuracy
from ecomfs_eval.metrics.log_loss import log_loss
from ecomfs_eval.metrics.mcc import mcc
from ecomfs_eval.metrics.measurements import (
    cache_share,
    completion_tokens,
    cost_per_1000,
    latency_at,
    prompt_tokens,
)
from ecomfs_eval.metrics.precision_recall_f1 import (
    AVERAGES,
    PARTS,
    ClassScores,
    class_metric,
    per_class,
)
from ecomfs_eval.metrics.ranking import hit_at, mrr, ndcg_at, query_auc
from ecomfs_eval.metrics.score import ConfidenceInterval, Score, Undefined
from ecomfs_eval.metrics.selective import RiskCoverage, aurc, risk_coverage_curve
from ecomfs_eval.structure import LabelKind

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        accuracy,
        accuracy_answered,
        subset_accuracy,
        level_accuracy_at(1),
        f1_hierarchical,
        jaccard,
        hamming_loss,
        balanced_accuracy,
        *AVERAGES,
        mcc,
        roc_auc,
        pr_auc,
        log_loss,
        brier,
        ece,
        ece_adaptive,
        ece_classwise,
        aurc,
        answered_rate,
        abstained_rate,
        invalid_rate,
        failed_rate,
        ndcg_at(5),
        ndcg_at(10),
        hit_at(1),
        hit_at(5),
        hit_at(10),
        mrr,
        query_auc,
        latency_at(50),
        latency_at(95),
        latency_at(99),
        prompt_tokens,
        completion_tokens,
        cache_share,
        cost_per_1000,
    )
}
"""Every metric by name, in the order reports show them."""

USUAL: dict[LabelKind, tuple[str, ...]] = {
    "flat": ("accuracy", "f1_macro", "roc_auc", "log_loss", "ece_adaptive"),
    "hierarchy": ("accuracy", "level_accuracy@1", "f1_hierarchical", "f1_macro", "log_loss"),
    "sets": ("f1_micro", "f1_macro", "subset_accuracy", "jaccard", "hamming_loss"),
}
"""Metrics in tables of results, by the kind of labels; the first decides the best baseline."""

_AT: tuple[tuple[str, Callable[[int], Metric]], ...] = (
    (r"ndcg@(\d+)", ndcg_at),
    (r"hit@(\d+)", hit_at),
    (r"level_accuracy@(\d+)", level_accuracy_at),
    (r"latency_p(\d+)", latency_at),
)


def get_metric(name: str | Metric) -> Metric:
    """Look up a metric by name.

    Args:
        name: one of :data:`METRICS`, ``ndcg@k``, ``hit@k``, ``level_accuracy@k``, ``latency_pQ``,
            ``precision[label]``, ``recall[label]`` or ``f1[label]``. A metric is returned as it is.

    Raises:
        OptionError: no metric has this name.

    >>> get_metric("latency_p90").unit, get_metric("recall[好评]").title
    ('seconds', 'Recall of 好评')
    """
    if isinstance(name, Metric):
        return name
    if name in METRICS:
        return METRICS[name]
    for pattern, at in _AT:
        if match := re.fullmatch(pattern, name):
            return at(int(match[1]))
    for part in PARTS:
        if match := re.fullmatch(rf"{part}\[(.+)\]", name):
            return class_metric(part, match[1])
    raise OptionError(
        f"no metric is called {name!r}",
        hint="one of: " + ", ".join(METRICS) + ", f1[label], precision[label], recall[label]",
    )


__all__ = [
    "METRICS",
    "USUAL",
    "ClassScores",
    "ConfidenceInterval",
    "Metric",
    "PrecisionRecallCurve",
    "ReliabilityBin",
    "RiskCoverage",
    "RocCurve",
    "Score",
    "Statistic",
    "Undefined",
    "confusion_matrix",
    "get_metric",
    "per_class",
    "precision_recall_curve",
    "reliability_curve",
    "risk_coverage_curve",
    "roc_curve",
]
