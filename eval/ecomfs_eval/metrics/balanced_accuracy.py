"""Balanced accuracy: the mean recall over the classes in gold.

>>> from ecomfs_eval import Predictions
>>> balanced_accuracy(Predictions.of(["a", "a", "a", "b"], ["a", "a", "a", "a"])).value
0.5
>>> balanced_accuracy(Predictions.of(["a", "a"], ["a", "b"])).reason
"only one class in gold ('a')"
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
    counter = Counter(p)

    def evaluate(weights: RowWeights) -> FloatArray:
        c = counter(weights)
        recall = ratio(c.hit, c.gold)
        return ratio(np.nansum(recall, axis=1), (c.gold > 0).sum(axis=1))

    return Statistic(evaluate, len(p))


balanced_accuracy = Metric(
    "balanced_accuracy",
    "Balanced accuracy",
    "mean over the classes in gold of (correct rows of the class / rows of the class)",
    "Brodersen et al. 2010, doi:10.1109/ICPR.2010.764",
    _prepare,
    needs="one label",
    title_zh="平衡准确率",
)
