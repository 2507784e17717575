"""Brute-force search with NumPy: one product, argpartition, sort. It stores no texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from worker import K, vectors


class System:
    def __init__(self, folder: Path) -> None:
        self._vectors = vectors(folder).astype(np.float32)
        self._queries = vectors(folder, "queries.npy").astype(np.float32)

    def search(self, numbers: list[int]) -> tuple[list[list[int]], Any]:
        scores = self._queries[numbers] @ self._vectors.T
        part = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        best = np.take_along_axis(scores, part, axis=1)
        order = np.argsort(-best, axis=1)
        similarities = np.take_along_axis(best, order, axis=1)
        return np.take_along_axis(part, order, axis=1).tolist(), similarities
