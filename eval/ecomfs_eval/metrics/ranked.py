"""Rows sorted by a score in groups of ties, for ROC, PR and calibration."""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import RowWeights
from ecomfs_eval.predictions import FloatArray, IntArray


class Ranking:
    """Positions ``rows`` sorted by ``scores``; equal scores form one group.

    Attributes:
        values: U distinct scores in the sorting order.
    """

    def __init__(self, scores: FloatArray, rows: IntArray, *, descending: bool = True) -> None:
        order = np.argsort(-scores if descending else scores, kind="stable")
        ordered = scores[order]
        self._starts = np.flatnonzero(np.r_[True, np.diff(ordered) != 0])
        self._order = order
        self._rows = rows[order]
        self.values: FloatArray = ordered[self._starts]

    def sums(self, weights: RowWeights, row_values: FloatArray | None = None) -> FloatArray:
        """B × U sums of weight (times a value of each of the ranked rows) over each group."""
        picked = weights[:, self._rows]
        if row_values is not None:
            picked *= row_values[self._order]  # fancy indexing copied the weights
        return np.add.reduceat(picked, self._starts, axis=1)

    def of_some(self, weights: RowWeights, chosen: FloatArray) -> tuple[FloatArray, IntArray]:
        """Sums over the chosen rows only: B × V, and their V groups, in order.

        With few chosen rows (one label of many) this is far cheaper than a sum over all.
        """
        places = np.flatnonzero(chosen[self._order])
        group = np.searchsorted(self._starts, places, side="right") - 1
        at, first = np.unique(group, return_index=True)
        return np.add.reduceat(weights[:, self._rows[places]], first, axis=1), at
