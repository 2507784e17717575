"""Precision, recall and F1: of one class, macro, micro and weighted.

Averages run over the classes that occur in gold or among the answers. In an average, a class
that was never answered has precision 0 and a class absent from gold has recall 0 (scikit-learn's
``zero_division=0``). For a single class, the same value is undefined and is ``None``.

>>> from ecomfs_eval import METRICS, Predictions
>>> p = Predictions.of(["a", "a", "b", "c"], ["a", "b", "b", "b"])
>>> names = ("precision_macro", "recall_macro", "f1_macro", "f1_micro", "f1_weighted")
>>> [round(METRICS[name](p).value, 3) for name in names]
[0.444, 0.5, 0.389, 0.5, 0.458]
>>> class_metric("precision", "c")(p).reason
"class 'c' was never answered"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecomfs_eval.errors import DataError
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, ratio
from ecomfs_eval.metrics.counts import Counter, Counts
from ecomfs_eval.metrics.score import Score, Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

_SOURCE = "van Rijsbergen 1979, Information Retrieval, ch. 7; averages: Sokolova & Lapalme 2009"
ClassPart = Literal["precision", "recall", "f1"]
PARTS: tuple[ClassPart, ...] = ("precision", "recall", "f1")
_FORMULA = {
    "precision": "correct rows of the class / rows predicted as the class",
    "recall": "correct rows of the class / rows of the class in gold",
    "f1": "2 · correct rows of the class / (rows predicted as the class + rows of the class)",
}


def _fraction(c: Counts, part: ClassPart) -> tuple[FloatArray, FloatArray]:
    """B × L numerators and denominators."""
    if part == "f1":
        return 2 * c.hit, c.predicted + c.gold
    return c.hit, c.predicted if part == "precision" else c.gold


def _per_class(c: Counts, part: ClassPart) -> FloatArray:
    return ratio(*_fraction(c, part))


def _macro(c: Counts, part: ClassPart) -> FloatArray:
    seen = (c.gold + c.predicted) > 0
    return ratio(np.nan_to_num(_per_class(c, part)).sum(axis=1), seen.sum(axis=1))


def _weighted(c: Counts, part: ClassPart) -> FloatArray:
    return ratio((np.nan_to_num(_per_class(c, part)) * c.gold).sum(axis=1), c.gold.sum(axis=1))


def _micro(c: Counts, part: ClassPart) -> FloatArray:
    top, bottom = _fraction(c, part)
    return ratio(top.sum(axis=1), bottom.sum(axis=1))


def _average(name: str, part: ClassPart, over: Callable[[Counts, ClassPart], FloatArray]) -> Metric:
    def prepare(p: Predictions) -> Statistic | Undefined:
        if part == "precision" and not p.answered.any():
            return Undefined("no row was answered")
        counter = Counter(p)

        def evaluate(weights: RowWeights) -> FloatArray:
            return over(counter(weights), part)

        return Statistic(evaluate, len(p))

    words = {
        "macro": "unweighted mean over the classes in gold or predictions",
        "weighted": "mean over the classes weighted by their rows in gold",
        "micro": "pooled over all classes",
    }
    title = {"precision": "Precision", "recall": "Recall", "f1": "F1"}[part]
    part_zh = {"precision": "精确率", "recall": "召回率", "f1": "F1"}[part]
    name_zh = {"macro": "宏平均", "micro": "微平均", "weighted": "加权"}[name]
    return Metric(
        f"{part}_{name}",
        f"{title}, {name}",
        f"{_FORMULA[part]}; {words[name]}",
        _SOURCE,
        prepare,
        title_zh=f"{part_zh}（{name_zh}）",
    )


AVERAGES = [
    _average(name, part, over)
    for name, over in (("macro", _macro), ("micro", _micro), ("weighted", _weighted))
    for part in PARTS
]
"""Macro, micro and weighted: precision, recall and F1 of each."""


def class_metric(part: ClassPart, label: str) -> Metric:
    """Precision, recall or F1 of one class."""

    def prepare(p: Predictions) -> Statistic | Undefined:
        if label not in p.classes:
            raise DataError(
                f"{p.source}: no class {label!r}", hint=f"labels are: {', '.join(p.classes)}"
            )
        at = p.classes.index(label)
        counter = Counter(p)
        counts = counter(np.ones((1, len(p))))
        golds, answers, hits = (
            int(found[0, at]) for found in (counts.gold, counts.predicted, counts.hit)
        )
        if part == "precision" and answers == 0:
            return Undefined(f"class {label!r} was never answered")
        if part == "recall" and golds == 0:
            return Undefined(f"class {label!r} is not in gold")
        if golds + answers == 0:
            return Undefined(f"class {label!r} is neither in gold nor among the answers")

        def evaluate(weights: RowWeights) -> FloatArray:
            return _per_class(counter(weights), part)[:, at]

        n = {"precision": answers, "recall": golds, "f1": len(p)}[part]
        return Statistic(evaluate, n, successes=None if part == "f1" else hits)

    return Metric(
        f"{part}[{label}]", f"{part.capitalize()} of {label}", _FORMULA[part], _SOURCE, prepare
    )


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class: its rows in gold, the rows answered with it, and its three scores."""

    label: str
    support: int
    answered: int
    precision: Score
    recall: Score
    f1: Score


def per_class(p: Predictions) -> tuple[ClassScores, ...]:
    """Precision, recall and F1 of every label, without intervals.

    Returns:
        One per label, in the order of the label space; of sets, of the labels that they hold.

    >>> from ecomfs_eval import Predictions
    >>> row = per_class(Predictions.of(["a", "b"], ["a", "a"]))[0]
    >>> row.label, row.support, row.answered, row.precision.value, row.recall.value
    ('a', 1, 2, 0.5, 1.0)
    """
    counts = Counter(p)(np.ones((1, len(p))))
    return tuple(
        ClassScores(
            label,
            int(counts.gold[0, i]),
            int(counts.predicted[0, i]),
            *(class_metric(part, label)(p) for part in PARTS),
        )
        for i, label in enumerate(p.classes)
    )
