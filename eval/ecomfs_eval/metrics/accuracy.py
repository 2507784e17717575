"""Accuracy, over all rows and over the answered ones, and the shares of each status.

An abstained, invalid or failed row is wrong. ``accuracy_answered`` leaves such rows out; report it
together with ``answered_rate``.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b", "b", "a"], ["a", "b", "a", None])
>>> accuracy(p).value, round(accuracy_answered(p).value, 3)
(0.5, 0.667)
>>> accuracy_answered(Predictions.of(["a"], [None], labels=["a", "b"])).reason
'no row was answered'
>>> p = Predictions.of(["a", "b", "b"], ["a", None, None], status=["ok", "abstained", "failed"])
>>> round(abstained_rate(p).value, 3), invalid_rate(p).value
(0.333, 0.0)
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import Metric, Statistic, left_out, mean_of
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

_SOURCE = "Stehman 1997, doi:10.1016/S0034-4257(97)00083-7"


def correct(p: Predictions) -> FloatArray:
    """n values: 1 where the row is ok and the label is right, else 0."""
    hits: FloatArray = (p.gold_index == p.predicted_index).astype(np.float64)
    return hits


def _all(p: Predictions) -> Statistic:
    return mean_of(correct(p), proportion=True)


def _answered(p: Predictions) -> Statistic | Undefined:
    if not p.answered.any():
        return Undefined("no row was answered")
    note = left_out(int((~p.answered).sum()), len(p), "were not answered")
    return mean_of(np.where(p.answered, correct(p), np.nan), note, proportion=True)


accuracy = Metric(
    "accuracy",
    "Accuracy",
    "correct rows / all rows; abstained, invalid and failed rows count as wrong",
    _SOURCE,
    _all,
    title_zh="准确率",
)
accuracy_answered = Metric(
    "accuracy_answered",
    "Accuracy on answered rows",
    "correct rows / rows with status ok",
    _SOURCE,
    _answered,
    title_zh="已回答行的准确率",
)


def _rate(status: str, title: str, title_zh: str, meaning: str, better: bool | None) -> Metric:
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
        title_zh=title_zh,
    )


answered_rate = _rate("ok", "Answered", "回答率", "a label was given (coverage)", None)
abstained_rate = _rate("abstained", "Abstained", "弃答率", "the system declined", None)
invalid_rate = _rate("invalid", "Invalid", "无效率", "the answer was not a label", False)
failed_rate = _rate("failed", "Failed", "失败率", "there was no answer", False)
