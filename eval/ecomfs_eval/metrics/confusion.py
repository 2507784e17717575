"""The confusion matrix, with a column for rows without an answer.

>>> from ecomfs_eval import Predictions
>>> m = confusion_matrix(Predictions.of(["a", "a", "b"], ["a", "b", None]))
>>> m.counts.tolist(), m.columns
([[1, 1, 0], [0, 0, 1]], ('a', 'b', 'no answer'))
>>> m.top_confusions()
[('a', 'b', 1), ('b', 'no answer', 1)]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecomfs_eval.predictions import IntArray, Predictions

NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionMatrix:
    """Rows by gold label and answer.

    Attributes:
        labels: L labels, the rows of the matrix.
        counts: L × (L + 1); the last column counts abstained, invalid and failed rows.
    """

    labels: tuple[str, ...]
    counts: IntArray

    @property
    def no_answer(self) -> str:
        """Name of the last column, which no label has."""
        return NO_ANSWER if NO_ANSWER not in self.labels else f"[{NO_ANSWER}]"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (*self.labels, self.no_answer)

    def top_confusions(self, most: int = 10) -> list[tuple[str, str, int]]:
        """(gold, answer, rows), the most frequent errors first."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        cells = [np.unravel_index(i, wrong.shape) for i in order]
        return [
            (self.labels[g], self.columns[a], int(wrong[g, a])) for g, a in cells if wrong[g, a] > 0
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"labels": self.labels, "columns": self.columns, "counts": self.counts.tolist()}


def confusion_matrix(p: Predictions) -> ConfusionMatrix:
    """Count every pair of gold label and answer.

    Returns:
        L × (L + 1) counts; the last column counts rows without an answer.

    >>> from ecomfs_eval import Predictions
    >>> confusion_matrix(Predictions.of(["a", "b"], ["a", None])).counts.tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    width = len(p.labels) + 1
    answer = np.where(p.predicted_index < 0, width - 1, p.predicted_index)
    flat = np.bincount(p.gold_index * width + answer, minlength=len(p.labels) * width)
    return ConfusionMatrix(p.labels, flat.reshape(len(p.labels), width).astype(np.int64))
