"""Matthews correlation coefficient, for any number of classes.

Rows without an answer form one more class of answers, which does not occur in gold.

>>> from ecomfs_eval import Predictions
>>> round(mcc(Predictions.of(["a", "a", "b", "b"], ["a", "a", "b", "a"])).value, 3)
0.577
>>> mcc(Predictions.of(["a", "b"], ["a", "a"])).reason
'every row got the same answer'
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, ratio
from ecomfs_eval.metrics.counts import Counter, classes_seen, one_class
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions


def _prepare(p: Predictions) -> Statistic | Undefined:
    if classes_seen(p) < 2:
        return Undefined(one_class(p))
    if len(set(p.predicted_index.tolist())) < 2:
        return Undefined("every row got the same answer")
    counter = Counter(p)

    def evaluate(weights: RowWeights) -> FloatArray:
        c = counter(weights)
        s = c.total
        silent = s - c.predicted.sum(axis=1)
        covariance = c.hit.sum(axis=1) * s - (c.predicted * c.gold).sum(axis=1)
        of_answers = s**2 - (c.predicted**2).sum(axis=1) - silent**2
        of_gold = s**2 - (c.gold**2).sum(axis=1)
        return ratio(covariance, np.sqrt(np.maximum(of_answers, 0) * np.maximum(of_gold, 0)))

    return Statistic(evaluate, len(p))


mcc = Metric(
    "mcc",
    "Matthews correlation",
    "covariance of answer and gold indicators / root of the product of their variances",
    "Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006",
    _prepare,
    unit="score",
    needs="one label",
    title_zh="马修斯相关系数",
)
