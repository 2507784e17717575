"""Weighted counts of a classification, for F1, MCC and balanced accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.base import RowWeights
from ecomfs_eval.predictions import FloatArray, Predictions


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts under B weightings, for L labels.

    Attributes:
        hit: B × L weight of rows of the class that were answered with it (true positives).
        gold: B × L weight of rows of the class.
        predicted: B × L weight of rows answered with the class.
        total: B weight of all rows, answered or not.
    """

    hit: FloatArray
    gold: FloatArray
    predicted: FloatArray
    total: FloatArray


class Counter:
    """Predictions as indicator columns, so that counting is three matrix products."""

    def __init__(self, p: Predictions) -> None:
        self._gold, self._answer = indicators(p)
        self._hit = self._gold * self._answer

    def __call__(self, weights: RowWeights) -> Counts:
        return Counts(
            weights @ self._hit,
            weights @ self._gold,
            weights @ self._answer,
            weights.sum(axis=1),
        )


def indicators(p: Predictions) -> tuple[FloatArray, FloatArray]:
    """Two n × classes tables: 1 where the class is the gold label, and 1 where it was predicted. A
    row that is not ok has no predicted class.

    >>> from ecomfs_eval import Predictions
    >>> gold, answer = indicators(Predictions.of(["a", "b"], ["b", None]))
    >>> gold.tolist(), answer.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]])
    """
    # One row of indicators per label, and a row of zeros for rows without an answer.
    table = np.eye(len(p.labels) + 1, len(p.labels))
    if p.structure is not None and p.kind == "sets":
        at = {name: i for i, name in enumerate(p.classes)}
        table = np.zeros((len(p.labels) + 1, len(at)))
        for row, label in enumerate(p.labels):
            table[row, [at[name] for name in p.structure.parts[label]]] = 1
    return table[p.gold_index], table[p.predicted_index]


def classes_seen(p: Predictions) -> int:
    """How many classes occur in gold."""
    return len(set(p.gold))


def one_class(p: Predictions) -> str:
    """Why a metric is undefined with a single class in gold."""
    return f"only one class in gold ({p.gold[0]!r})"
