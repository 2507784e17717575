"""ecomfs: the index for a pool of this size, with the pool's texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from worker import K, read_texts, vectors

from ecomfs.retrieve import build_index


class System:
    def __init__(self, folder: Path) -> None:
        self._texts = read_texts(folder)
        self._queries = vectors(folder, "queries.npy").astype(np.float32)
        with threadpool_limits(os.cpu_count()):  # only searches are limited to --threads
            self.index = build_index(vectors(folder))

    def search(self, numbers: list[int]) -> tuple[list[list[int]], Any]:
        hits = self.index.search(self._queries[numbers], K)
        return [h.positions.tolist() for h in hits], [h.similarities for h in hits]
