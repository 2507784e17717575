"""Shares of answered, abstained, invalid and failed rows.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b", "b"], ["a", None, None], status=["ok", "abstained", "failed"])
>>> round(abstained_rate(p).value, 3), invalid_rate(p).value
(0.333, 0.0)
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import Metric, Statistic, mean_of
from ecomfs_eval.predictions import Predictions


def _rate(status: str, title: str, meaning: str, better: bool | None) -> Metric:
    def prepare(p: Predictions) -> Statistic:
        return mean_of(np.array([s == status for s in p.status], dtype=float), proportion=True)

    name = "answered" if status == "ok" else status
    return Metric(
        f"{name}_rate",
        title,
        f"rows with status {status} / all rows: {meaning}",
        "a count",
        prepare,
        higher_is_better=better,
    )


answered_rate = _rate("ok", "Answered", "a label was given (coverage)", None)
abstained_rate = _rate("abstained", "Abstained", "the system declined", None)
invalid_rate = _rate("invalid", "Invalid", "the answer was not a label", False)
failed_rate = _rate("failed", "Failed", "no answer came", False)
