"""Metrics of labels with parents: accuracy down to a level, and hierarchical F1.

A row that was not answered is wrong on every level.

>>> from ecomfs_eval import Predictions
>>> from ecomfs_eval.structure import LabelStructure
>>> gold = ["Home > Lamps", "Home > Chairs", "Toys > Games"]
>>> tree = LabelStructure.tree(gold, ">")
>>> p = Predictions.of(gold, ["Home > Chairs", "Home > Chairs", None], structure=tree)
>>> round(level_accuracy_at(1)(p).value, 3), round(level_accuracy_at(2)(p).value, 3)
(0.667, 0.333)
>>> round(f1_hierarchical(p).value, 3)
0.6
>>> f1_hierarchical(Predictions.of(["a"], ["a"])).reason
'not defined where labels have no parents and a row has one label'
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, mean_of, ratio
from ecomfs_eval.predictions import FloatArray, Predictions


def _common(p: Predictions) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Three arrays of n values: number of levels that gold label and answer share from the top,
    levels of the gold label, and levels of the answer (0 if there is none)."""
    parts = {} if p.structure is None else p.structure.parts
    table = np.zeros((3, len(p)))
    for row, (gold, answer, status) in enumerate(zip(p.gold, p.predicted, p.status, strict=True)):
        truth = parts[gold]
        given = parts[answer] if status == "ok" and answer is not None else ()
        same = [a == b for a, b in zip(truth, given, strict=False)]
        table[:, row] = (same.index(False) if False in same else len(same)), len(truth), len(given)
    return table[0], table[1], table[2]


def level_accuracy_at(level: int) -> Metric:
    """Accuracy down to a level, counted from 1 at the top.

    Raises:
        OptionError: a level below 1.
    """
    if level < 1:
        raise OptionError(f"level_accuracy@{level}", hint="levels are counted from 1, the top")

    def compute(p: Predictions) -> Statistic:
        same, truth, given = _common(p)
        # A label that ends above the level is right if the whole label is right.
        right = np.where(truth < level, (same == truth) & (given == truth), same >= level)
        return mean_of(right.astype(np.float64), proportion=True)

    return Metric(
        f"level_accuracy@{level}",
        f"Accuracy, level {level}",
        f"rows whose answer is correct from the top down to level {level} / all rows",
        "Silla & Freitas 2011, doi:10.1007/s10618-010-0175-9",
        compute,
        needs="hierarchy",
        title_zh=f"准确率（第 {level} 层）",
    )


def _f1(p: Predictions) -> Statistic:
    same, truth, given = _common(p)

    def evaluate(weights: RowWeights) -> FloatArray:
        return ratio(2 * (weights @ same), weights @ truth + weights @ given)

    return Statistic(evaluate, len(p))


f1_hierarchical = Metric(
    "f1_hierarchical",
    "F1, hierarchical",
    "2 · levels shared by answer and gold / (levels of the answers + levels of gold), over all "
    "rows; a correct parent of a wrong child counts",
    "Kiritchenko et al. 2005; Silla & Freitas 2011, doi:10.1007/s10618-010-0175-9",
    _f1,
    needs="hierarchy",
    title_zh="F1（层次）",
)
