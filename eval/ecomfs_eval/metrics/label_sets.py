"""Metrics of rows with several labels: subset accuracy, Jaccard index, Hamming loss.

Precision, recall and F1 of such rows count every label of every row
(:mod:`ecomfs_eval.metrics.precision_recall_f1`). A row without an answer has no labels and is
wrong.

>>> from ecomfs_eval import METRICS, Predictions
>>> from ecomfs_eval.structure import LabelStructure
>>> sets = LabelStructure.sets({"a": ["a"], "a|b": ["a", "b"], "[]": []})
>>> p = Predictions.of(["a", "a|b", "[]"], ["a", "a", "[]"], structure=sets)
>>> [round(m(p).value, 3) for m in (subset_accuracy, jaccard, hamming_loss)]
[0.667, 0.833, 0.167]
>>> round(METRICS["f1_micro"](p).value, 3), round(METRICS["f1_macro"](p).value, 3)
(0.8, 0.5)
>>> METRICS["log_loss"](p).reason
'not defined where a row has several labels'
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.metrics.base import Metric, Statistic, mean_of
from ecomfs_eval.metrics.counts import indicators
from ecomfs_eval.predictions import Predictions

_SOURCE = "Tsoumakas & Katakis 2007, doi:10.4018/jdwm.2007070101"


def _subset(p: Predictions) -> Statistic:
    return mean_of(correct(p), proportion=True)


def _jaccard(p: Predictions) -> Statistic:
    gold, answer = indicators(p)
    both, either = (gold * answer).sum(axis=1), np.maximum(gold, answer).sum(axis=1)
    # Both sets are empty, so they are equal.
    empty = p.answered.astype(np.float64)
    return mean_of(np.divide(both, either, out=empty, where=either > 0))


def _hamming(p: Predictions) -> Statistic:
    gold, answer = indicators(p)
    return mean_of((gold != answer).mean(axis=1))


subset_accuracy = Metric(
    "subset_accuracy",
    "Subset accuracy",
    "rows with exactly the right labels / all rows",
    _SOURCE,
    _subset,
    needs="sets",
    title_zh="子集准确率",
)
jaccard = Metric(
    "jaccard",
    "Jaccard index",
    "mean over rows of (labels in both answer and gold) / (labels in either); 1 if both are empty",
    _SOURCE,
    _jaccard,
    needs="sets",
    title_zh="Jaccard 指数",
)
hamming_loss = Metric(
    "hamming_loss",
    "Hamming loss",
    "wrong decisions / (rows · labels); a decision is one label of one row",
    _SOURCE,
    _hamming,
    unit="score",
    higher_is_better=False,
    needs="sets",
    title_zh="汉明损失",
)
