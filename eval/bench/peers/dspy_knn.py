"""DSPy's KNN. It has no batch call: 64 queries are sent one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import numpy as np
from worker import K, read_texts, vectors


class System:
    def __init__(self, folder: Path) -> None:
        pool, given = vectors(folder), 0
        queries = vectors(folder, "queries.npy").astype(np.float32)

        def looked(texts: list[str]) -> Any:
            """Vectors that were computed before: the pool's in order, then a query's by number."""
            nonlocal given
            if given < len(pool):
                block = pool[given : given + len(texts)]
                given += len(texts)
                return block.astype(np.float32)
            return queries[[int(text.removeprefix("text: ")) for text in texts]]

        trainset = [
            dspy.Example(text=t, number=n).with_inputs("text")
            for n, t in enumerate(read_texts(folder))
        ]
        # Without its cache of embeddings, which would hash every text again.
        self._knn = dspy.KNN(K, trainset, dspy.Embedder(looked, caching=False))

    def search(self, numbers: list[int]) -> tuple[list[list[int]], None]:
        return [[e.number for e in self._knn(text=str(number))] for number in numbers], None
