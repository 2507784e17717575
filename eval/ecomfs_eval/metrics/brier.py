"""Brier score: the mean squared distance of the probabilities from the truth.

Two labels: (probability of the positive class − truth)², between 0 and 1. Several: the sum over
the labels, between 0 and 2, as Brier wrote it.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b"], probabilities=[[0.5, 0.5], [0.8, 0.2]])
>>> round(brier(p).value, 3)
0.445
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import Distributions, Metric, Statistic, on_distributions


@on_distributions
def _prepare(d: Distributions) -> Statistic:
    labels = d.table.shape[1]
    distance = ((d.table - np.eye(labels)[d.gold]) ** 2).sum(axis=1)
    return d.mean_of(distance / 2 if labels == 2 else distance)


brier = Metric(
    "brier",
    "Brier score",
    "mean of Σ over labels (probability − truth)²; halved for two labels",
    "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    _prepare,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
    title_zh="Brier 分数",
)
