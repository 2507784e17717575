"""ecomfs_eval: predictions of any classifier in; scores, comparisons and reports out.

Predictions come from a file, a frame or plain sequences. Every score has a confidence interval or
the reason why there is none. The package imports nothing of ecomfs.

>>> from ecomfs_eval import Predictions, summarise
>>> table = [[.1, .9], [.7, .3], [.6, .4], [.8, .2]]
>>> p = Predictions.of(["yes", "no", "no", "yes"], probabilities=table, labels=["no", "yes"])
>>> s = summarise(p, ["accuracy", "roc_auc"])
>>> s["accuracy"].value, s["roc_auc"].value
(0.75, 0.5)
"""

from __future__ import annotations

from ecomfs_eval.compare import PairwiseComparison, compare, compare_many
from ecomfs_eval.errors import EvalError
from ecomfs_eval.intervals import Bootstrap, score, scores, wilson
from ecomfs_eval.metrics import (
    METRICS,
    ConfidenceInterval,
    Metric,
    Score,
    Undefined,
    confusion_matrix,
    get_metric,
    per_class,
    precision_recall_curve,
    reliability_curve,
    risk_coverage_curve,
    roc_curve,
)
from ecomfs_eval.predictions import Predictions
from ecomfs_eval.reading import ColumnNames
from ecomfs_eval.summary import Summary, summarise

__all__ = [
    "METRICS",
    "Bootstrap",
    "ColumnNames",
    "ConfidenceInterval",
    "EvalError",
    "Metric",
    "PairwiseComparison",
    "Predictions",
    "Score",
    "Summary",
    "Undefined",
    "compare",
    "compare_many",
    "confusion_matrix",
    "get_metric",
    "per_class",
    "precision_recall_curve",
    "reliability_curve",
    "risk_coverage_curve",
    "roc_curve",
    "score",
    "scores",
    "summarise",
    "wilson",
]
