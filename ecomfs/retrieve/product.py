"""Inner products of many pairs of vectors without waking other threads for little work.

OpenBLAS splits every product of more than 2^18 multiplications among all cores. Its threads then
wait for the next one in a loop for some 20 ms each: for a block of queries and a small pool that is
forty times the work itself, taken from whatever else runs (a tokenizer, a local model).
"""

from __future__ import annotations

import math
import os

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_ONE_THREAD = 1 << 18  # multiplications up to which OpenBLAS stays in the calling thread
_WORTH_MORE = 1 << 28  # from here on (some 10 ms) several threads are worth their waiting
_FEW = 1 << 22  # so few multiplications need no BLAS at all
_THREADS = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
_ALONE = _THREADS == "1" or os.cpu_count() == 1  # there is no other thread to wake


def inner_products(queries: Vectors, vectors: Vectors) -> Vectors:
    """``queries @ vectors.T``, shape (queries, vectors), up to the rounding of float32.

    >>> inner_products(np.eye(2, dtype=np.float32), np.ones((3, 2), dtype=np.float32)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    work = len(queries) * vectors.size
    side = math.isqrt(_ONE_THREAD // max(1, vectors.shape[1]))
    whole = len(queries) // max(1, side) * side
    if _ALONE or work > _WORTH_MORE or (not whole and work > _FEW):
        return np.asarray(queries @ vectors.T)
    rest = np.einsum("ij,kj->ik", queries[whole:], vectors)
    if not whole:
        return np.asarray(rest)
    out = np.empty((len(queries), len(vectors)), dtype=np.float32)
    out[whole:] = rest
    stack = queries[:whole].reshape(-1, side, vectors.shape[1])
    for start in range(0, len(vectors), side):
        part = np.matmul(stack, vectors[start : start + side].T)
        out[:whole, start : start + side] = part.reshape(whole, -1)
    return out


__all__ = ["inner_products"]
