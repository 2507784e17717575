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

from ecomfs_eval.metrics.base import Metric, Statistic, mean_of, with_distribution
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import Predictions


def _prepare(p: Predictions) -> Statistic | Undefined:
    got = with_distribution(p)
    if isinstance(got, Undefined):
        return got
    table, rows, note = got
    truth = np.eye(len(p.labels))[p.gold_index[rows]]
    distance = ((table - truth) ** 2).sum(axis=1)
    values = np.full(len(p), np.nan)
    values[rows] = distance / 2 if len(p.labels) == 2 else distance
    return mean_of(values, note)


brier = Metric(
    "brier",
    "Brier score",
    "mean of Σ over labels (probability − truth)²; halved for two labels",
    "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    _prepare,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
)
