"""Weighted counts of a classification, for F1, MCC and balanced accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.base import RowWeights
from ecomfs_eval.predictions import FloatArray, Predictions


@dataclass(frozen=True, slots=True)
class Counts:
    """Under B weightings, for L labels.

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
        classes = np.arange(len(p.labels))
        gold, answer = p.gold_index[:, None], p.predicted_index[:, None]
        self._gold = (gold == classes).astype(np.float64)
        self._answer = (answer == classes).astype(np.float64)
        self._hit = self._gold * self._answer

    def __call__(self, weights: RowWeights) -> Counts:
        return Counts(
            weights @ self._hit,
            weights @ self._gold,
            weights @ self._answer,
            weights.sum(axis=1),
        )


def classes_seen(p: Predictions) -> int:
    """How many classes occur in gold."""
    return len(set(p.gold))


def one_class(p: Predictions) -> str:
    """Why a metric is undefined with a single class in gold."""
    return f"only one class in gold ({p.gold[0]!r})"
