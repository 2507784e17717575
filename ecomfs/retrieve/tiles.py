"""Inner products whose rounding depends on the two vectors alone, at the speed of BLAS.

A matrix product may round a pair of vectors differently when there are more rows beside them:
other shapes are computed in other ways. Here every product has one shape, four queries by some
vectors, what is missing being zeros, so that BLAS goes one way. Whether it then rounds a pair in
one way wherever in the tile it stands is not promised by anybody: it is looked at, once a shape,
and who gets ``None`` compares pair by pair. Tiles are so small that no other thread is woken.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.product import ONE_THREAD

Vectors = NDArray[np.float32]

_QUERIES = 4
_STEP = 16  # vectors by which a tile grows: the numbers that a processor adds at once
_MOST = 128  # vectors in a tile


class Tiles:
    """Vectors that are compared in tiles; made by :meth:`of`.

    Attributes:
        vectors: shape (size, dimensions).
    """

    def __init__(self, vectors: Vectors, width: int) -> None:
        size, dimensions = vectors.shape
        count = -(-size // width)
        padded = np.zeros((count * width, dimensions), dtype=np.float32)
        padded[:size] = vectors
        self.vectors: Vectors = padded[:size]
        self._tiles = padded.reshape(count, 1, width, dimensions).transpose(0, 1, 3, 2)

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Tiles | None:
        """Tiles of some vectors; ``None`` where they are too long, or BLAS rounds otherwise.

        >>> tiles = Tiles.of(np.eye(3, dtype=np.float32))
        >>> tiles and tiles.scores(np.ones((1, 3), dtype=np.float32)).tolist()
        [[1.0, 1.0, 1.0]]
        """
        size, dimensions = vectors.shape
        most = min(_MOST, ONE_THREAD // (_QUERIES * max(1, dimensions)) // _STEP * _STEP)
        if not most or not size or not dimensions:
            return None
        share = -(-size // -(-size // most))  # of as few tiles as will do
        width = -(-share // _STEP) * _STEP
        if not _steady(dimensions, width):
            return None
        return cls(np.asarray(vectors, dtype=np.float32), width)

    def scores(self, queries: Vectors) -> Vectors:
        """Inner products, shape (len(queries), size)."""
        count, dimensions = queries.shape
        stack = np.zeros((-(-count // _QUERIES), _QUERIES, dimensions), dtype=np.float32)
        stack.reshape(-1, dimensions)[:count] = queries
        found = np.matmul(stack, self._tiles)  # (tiles, stack, four, width)
        whole: Vectors = found.transpose(1, 2, 0, 3).reshape(len(stack) * _QUERIES, -1)
        return whole[:count, : len(self.vectors)]


@functools.cache
def _steady(dimensions: int, width: int) -> bool:
    """Whether a pair's product is the same in every place of a tile, beside other vectors or
    zeros, and wherever in memory the tile begins."""
    draw = np.random.default_rng(0)
    queries = draw.standard_normal((_QUERIES, dimensions)).astype(np.float32)
    vectors = draw.standard_normal((width, dimensions)).astype(np.float32)
    first = np.matmul(queries[None], vectors.T[None, None])[0, 0]
    for place in range(_QUERIES):
        alone = np.zeros((1, _QUERIES, dimensions), dtype=np.float32)
        alone[0, place] = queries[0]
        turned = np.roll(queries, place, axis=0)[None]
        for shift in range(0, width, max(1, width // _STEP) + 1):
            left, right = _moved(turned, shift), _moved(np.roll(vectors, shift, axis=0), place)
            there = np.matmul(left, right.T[None, None])[0, 0]
            if not np.array_equal(there, np.roll(first, (place, shift), axis=(0, 1))):
                return False
        if not np.array_equal(np.matmul(alone, vectors.T[None, None])[0, 0, place], first[0]):
            return False
    return True


def _moved(array: Vectors, numbers: int) -> Vectors:
    """A copy that begins some numbers later in memory."""
    numbers %= 16
    space = np.empty(array.size + numbers, dtype=np.float32)
    copy = space[numbers:].reshape(array.shape)
    copy[...] = array
    return copy


__all__ = ["Tiles"]
