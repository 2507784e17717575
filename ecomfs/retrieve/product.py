"""Inner products of many pairs of vectors without waking other threads for little work.

OpenBLAS splits every product of more than 2^18 multiplications among all cores. Its threads then
wait for the next one in a loop for some 20 ms each: for a block of queries and a small pool that is
forty times the work itself, taken from whatever else runs (a tokenizer, a local model). Tiles of
fewer multiplications stay in the calling thread, and cost it about what the whole product would: a
third for 8 queries, as much for 64, 1.3 times for hundreds (measured with 384 dimensions).
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

ONE_THREAD = 1 << 18  # multiplications up to which OpenBLAS stays in the calling thread
_WORTH_MORE = 1 << 28  # from here on (some 10 ms) several threads are worth their waiting
_QUERIES = 16  # in a tile: more leave fewer vectors, which is slower
_THREADS = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
_ALONE = _THREADS == "1" or os.cpu_count() == 1  # there is no other thread to wake


def inner_products(queries: Vectors, vectors: Vectors, *, blocks: int = 1) -> Vectors:
    """``queries @ vectors.T``, shape (queries, vectors), up to the rounding of float32.

    Args:
        blocks: how many products of this size follow each other: what threads are worth is a
            matter of all of them.

    >>> inner_products(np.eye(2, dtype=np.float32), np.ones((3, 2), dtype=np.float32)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    work = len(queries) * vectors.size
    if _ALONE or work <= ONE_THREAD or work * blocks > _WORTH_MORE:
        return np.asarray(queries @ vectors.T)
    out = np.empty((len(queries), len(vectors)), dtype=np.float32)
    parts = -(-len(queries) // _QUERIES)
    step = -(-len(queries) // parts)
    for start in range(0, len(queries), step):
        _in_tiles(queries[start : start + step], vectors, out[start : start + step])
    return out


def _in_tiles(queries: Vectors, vectors: Vectors, out: Vectors) -> None:
    count, dimensions = queries.shape
    side = max(1, ONE_THREAD // (count * dimensions))
    whole = len(vectors) // side * side
    if whole:
        tiles = vectors[:whole].reshape(-1, side, dimensions)
        found = np.matmul(queries, tiles.transpose(0, 2, 1))
        out[:, :whole].reshape(count, -1, side)[...] = found.transpose(1, 0, 2)
    if whole < len(vectors):
        np.matmul(queries, vectors[whole:].T, out=out[:, whole:])


__all__ = ["ONE_THREAD", "inner_products"]
