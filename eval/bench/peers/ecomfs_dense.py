"""ecomfs: the stored index of a pool, opened as a service opens it, with the pool's texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from worker import K, read_texts, vectors

from ecomfs.retrieve import half, ivf
from ecomfs.retrieve.index import HitTable
from ecomfs.retrieve.index_store import open_index

if half.can_scan():  # imported now, as every peer's packages are, and not at the first query
    ivf._faiss()


class Looked:
    """An embedder whose vectors were computed before: those of the pool, in order."""

    fingerprint = "bench"

    def __init__(self, folder: Path) -> None:
        self._vectors = vectors(folder)
        self.dimensions = self._vectors.shape[1]
        self.given = 0

    def fit(self, texts: Sequence[str]) -> Looked:
        return self

    def embed(self, texts: Sequence[str], *, query: bool) -> Any:
        block = self._vectors[self.given : self.given + len(texts)]
        self.given += len(texts)
        return block.astype(np.float32)


class System:
    def __init__(self, folder: Path) -> None:
        self._texts = read_texts(folder)
        self._queries = vectors(folder, "queries.npy").astype(np.float32)
        embedder = Looked(folder)
        self.index = open_index(self._texts, embedder, folder / "ecomfs-index")
        self.built = bool(embedder.given)

    def search(self, numbers: list[int]) -> tuple[list[list[int]], Any]:
        hits = self.index.search(self._queries[numbers], K)
        if isinstance(hits, HitTable):  # as a caller that wants arrays takes them
            return hits.positions.tolist(), hits.similarities
        return [h.positions.tolist() for h in hits], [h.similarities for h in hits]

    def touch(self) -> None:
        """Read every vector once, so that all that is memory-mapped is resident: few at a time,
        whose copies would stay in the process as free memory and be counted."""
        for start in range(0, len(self.index), 256):
            _ = self.index.vectors[np.arange(start, min(start + 256, len(self.index)))]
