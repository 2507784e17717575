"""Similarities to float16 vectors, without a float32 copy of all of them.

Half the memory, and for one query less time as well: reading the matrix is what takes long.
One query goes through FAISS's scalar quantizer, which widens numbers as it reads; many go
through matrix products with blocks that are widened one after another and stay in the cache.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

BLOCK = 512  # rows widened at a time: the room stays in the process
_ONE_BY_ONE = 4  # queries up to which reading the matrix for each is cheaper than widening it
_WITHOUT_SIGN_SPREAD = np.int32(-0x70000001)  # all bits but 28 to 30
_EXPONENTS_APART = np.float32(2.0**112)  # float32 counts exponents from -127, float16 from -15


@functools.cache
def can_scan() -> bool:
    """Whether FAISS is there, without which one query costs as much as many."""
    return importlib.util.find_spec("faiss") is not None


class HalfRows:
    """Float16 unit vectors that read as float32.

    Args:
        vectors: shape (size, dimensions), finite; may be memory-mapped.

    >>> HalfRows(np.eye(3, dtype=np.float16))[np.array([1])].tolist()
    [[0.0, 1.0, 0.0]]
    """

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        self.stored = np.ascontiguousarray(vectors)
        self.shape = self.stored.shape

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, positions: NDArray[np.int64]) -> Vectors:
        return self.stored[positions].astype(np.float32)

    def block(self, start: int, buffer: Vectors | None = None) -> Vectors:
        """Rows from ``start`` on, as many as ``buffer`` holds, in ``buffer``."""
        stored = self.stored[start : start + BLOCK]
        if buffer is None:
            buffer = np.empty((BLOCK, self.shape[1]), dtype=np.float32)
        return widen(stored, buffer[: len(stored)])

    def scores(self, queries: Vectors) -> Vectors:
        """Inner products, shape (len(queries), size)."""
        found = np.empty((len(queries), len(self)), dtype=np.float32)
        if len(queries) <= _ONE_BY_ONE and can_scan():
            for row, query in zip(found, queries, strict=True):
                row[:] = self._scan(query)
            return found
        buffer = np.empty((BLOCK, self.shape[1]), dtype=np.float32)
        for start in range(0, len(self), BLOCK):
            block = self.block(start, buffer)
            found[:, start : start + len(block)] = queries @ block.T
        return found

    def _scan(self, query: Vectors) -> Vectors:
        faiss: Any = importlib.import_module("faiss")
        query = np.ascontiguousarray(query, dtype=np.float32)
        quantizer = faiss.ScalarQuantizer(self.shape[1], faiss.ScalarQuantizer.QT_fp16)
        # One "list" that holds everything, read where it stands; a radius that lets all pass.
        scanner = quantizer.select_InvertedListScanner(
            faiss.METRIC_INNER_PRODUCT, None, True, None, False
        )
        scanner.set_query(faiss.swig_ptr(query))
        scanner.set_list(0, 0.0)
        result = faiss.RangeSearchResult(1)
        partial = faiss.RangeSearchPartialResult(result)
        codes = self.stored.view(np.uint8).reshape(-1)
        lowest = float(np.finfo(np.float32).min)
        scanner.scan_codes_range(
            len(self), faiss.swig_ptr(codes), None, lowest, partial.new_result(0)
        )
        partial.finalize()
        return np.array(faiss.rev_swig_ptr(result.distances, len(self)))


def widen(stored: NDArray[np.float16], out: Vectors) -> Vectors:
    """Finite float16 numbers as float32, exactly, by moving their bits; NumPy converts one
    number after another, which takes twice as long.

    >>> widen(np.array([-1.5, 6e-8], dtype=np.float16), np.empty(2, dtype=np.float32)).tolist()
    [-1.5, 5.960464477539063e-08]
    """
    bits = out.view(np.int32)
    np.left_shift(stored.view(np.int16), 13, out=bits, dtype=np.int32)
    np.bitwise_and(bits, _WITHOUT_SIGN_SPREAD, out=bits)
    return np.multiply(out, _EXPONENTS_APART, out=out)
