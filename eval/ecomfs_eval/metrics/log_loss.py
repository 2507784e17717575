"""Cross-entropy: the mean of −ln(probability of the gold label), in nats.

A probability of zero would make it infinite, so it is raised to 2.2e-16 (machine precision, as in
scikit-learn). The note counts such rows.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b"], probabilities=[[0.5, 0.5], [0.75, 0.25]])
>>> round(log_loss(p).value, 4)
1.0397
>>> log_loss(Predictions.of(["a", "b"], ["a", "b"])).reason
'no row has probabilities'
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import Distributions, Metric, Statistic, on_distributions

FLOOR = float(np.finfo(np.float64).eps)


@on_distributions
def _prepare(d: Distributions) -> Statistic:
    of_gold = d.table[np.arange(d.rows.size), d.gold]
    raised = int((of_gold < FLOOR).sum())
    note = f"{raised} rows gave the gold label probability 0, raised to {FLOOR:.1e}"
    return d.mean_of(-np.log(np.clip(of_gold, FLOOR, 1.0)), note if raised else "")


log_loss = Metric(
    "log_loss",
    "Log loss",
    "mean of −ln(probability of the gold label)",
    "Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x",
    _prepare,
    unit="nats",
    higher_is_better=False,
    needs="probabilities",
    title_zh="对数损失",
)
