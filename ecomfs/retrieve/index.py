"""Exact nearest neighbours by inner product.

Matrix products find the candidates, whose similarities are then computed again, pair by pair
(``second_look``): a row has the same neighbours alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.candidates import ROUNDING, Best, Groups, pick, top, within
from ecomfs.retrieve.excluded import Excluded
from ecomfs.retrieve.half import BLOCK as HALF_BLOCK
from ecomfs.retrieve.half import HalfRows, Vectors, can_scan
from ecomfs.retrieve.hits import Hits, HitTable
from ecomfs.retrieve.product import inner_products
from ecomfs.retrieve.second_look import (
    Look,
    Pairs,
    Rows,
    Scored,
    exact_similarities,
    nearest_of_each,
    nearest_of_each_and_group,
    ranked,
)
from ecomfs.retrieve.tiles import Tiles

__all__ = [
    "DenseIndex",
    "Groups",
    "HitTable",
    "Hits",
    "Rows",
    "VectorIndex",
    "Vectors",
    "exact_similarities",
    "pick",
    "top",
]

_BLOCK = 2048  # vectors whose similarities are held at a time
_BATCH_CELLS = 1 << 24  # similarities held at a time: 64 MB
_FEW = 512  # vectors up to which products that always round the same cost less than a second look
_SMALL = 1 << 20  # numbers in a matrix that is not worth keeping as float16: 4 MB


class VectorIndex(Protocol):
    """Finds neighbours by vectors; see :class:`DenseIndex` for what the methods mean."""

    @property
    def vectors(self) -> Rows: ...

    @property
    def description(self) -> str: ...

    @property
    def exact(self) -> bool: ...

    def __len__(self) -> int: ...

    def search(
        self,
        queries: Vectors,
        n: int,
        *,
        excluded: Sequence[Collection[int]] | None = None,
        groups: Groups | None = None,
        per_group: int = 0,
        far_groups: bool = True,
    ) -> Sequence[Hits]: ...

    def near(self, queries: Vectors, threshold: float) -> list[NDArray[np.int64]]: ...

    def rank(self, query: Vectors, positions: NDArray[np.int64]) -> Hits: ...

    def similarities(self, query: Vectors, positions: NDArray[np.int64]) -> NDArray[np.float64]: ...

    def updated(self, positions: NDArray[np.int64], new: Vectors) -> VectorIndex: ...


class DenseIndex:
    """Brute force over all vectors: exact, and fastest up to about 100,000 of them.

    Args:
        vectors: unit rows, shape (size, dimensions). Float16 stays float16, and memory-mapped
            where it is, when the matrix has more than a million numbers and FAISS is installed.

    >>> index = DenseIndex(np.eye(3, dtype=np.float32))
    >>> hits = index.search(np.array([[0.6, 0.8, 0.0]], dtype=np.float32), 2)[0]
    >>> hits.positions.tolist(), hits.similarities.round(3).tolist()
    ([1, 0], [0.8, 0.6])
    """

    def __init__(self, vectors: Vectors | NDArray[np.float16]) -> None:
        self.vectors: Vectors | HalfRows
        self._tiles = Tiles.of(vectors) if len(vectors) <= _FEW else None
        if self._tiles is not None:
            self.vectors = self._tiles.vectors
        elif vectors.dtype == np.float16 and vectors.size > _SMALL and can_scan():
            self.vectors = HalfRows(vectors.astype(np.float16, copy=False))
        else:
            self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def description(self) -> str:
        """What it is, for reports."""
        return f"exact, {len(self):,} vectors"

    @property
    def exact(self) -> bool:
        """Whether every vector is looked at, so that what is far away costs no more."""
        return True

    def updated(self, positions: NDArray[np.int64], new: Vectors) -> DenseIndex:
        """The index of another version of the pool.

        Args:
            positions: for each example, where it is in this index, or -1 for the next of ``new``.
            new: vectors of the examples that are not in this index.
        """
        old = self.vectors.stored if isinstance(self.vectors, HalfRows) else self.vectors
        vectors = np.empty((len(positions), old.shape[1]), dtype=old.dtype)
        vectors[positions >= 0] = old[positions[positions >= 0]]
        vectors[positions < 0] = new
        return DenseIndex(vectors)

    def search(
        self,
        queries: Vectors,
        n: int,
        *,
        excluded: Sequence[Collection[int]] | None = None,
        groups: Groups | None = None,
        per_group: int = 0,
        far_groups: bool = True,
    ) -> Sequence[Hits]:
        """The ``n`` nearest of each query and, beside them, ``per_group`` of each group.

        Args:
            queries: unit rows, shape (m, dimensions).
            n: neighbours a query; fewer when the pool holds fewer.
            excluded: for each query, positions that may not be returned.
            groups: parts of the pool, such as the examples of each label, of which the nearest
                ``per_group`` are wanted as well, however far away.
            far_groups: whether of all groups, or only of those that the ``n`` nearest are from.

        Returns:
            One :class:`Hits` a query.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        together = None if groups is None or not per_group else groups
        if len(queries) == 1 and together is None:
            # What a service asks: one query, without the bookkeeping of many.
            return [self._alone(queries, n, excluded[0] if excluded else ())]
        step = max(1, _BATCH_CELLS // max(1, _BLOCK if together is None else len(self)))
        found: list[Sequence[Hits]] = []
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            banned = excluded[start : start + step] if excluded else ()
            look: Look = Pairs(self.vectors, block)
            if together is None and len(self) > _BLOCK:
                rows, positions = self._candidates(block, n, banned)
            else:
                scores = self._allowed_scores(block, banned)
                if self._tiles is not None:
                    look = Scored(scores)
                rows, positions = pick(
                    scores, n, together, per_group, far_groups, rounding=self._rounding
                )
            found.append(
                nearest_of_each(look, len(block), rows, positions, n)
                if together is None
                else nearest_of_each_and_group(
                    look, len(block), rows, positions, n, together, per_group, far_groups
                )
            )
        return found[0] if len(found) == 1 else [hits for part in found for hits in part]

    @property
    def _rounding(self) -> float:
        """What scores may be off."""
        return ROUNDING if self._tiles is None else 0.0

    def _scores(self, queries: Vectors) -> Vectors:
        if self._tiles is not None:
            return self._tiles.scores(queries)
        if isinstance(self.vectors, HalfRows):
            return self.vectors.scores(queries)
        return inner_products(queries, self.vectors)

    def _allowed_scores(self, queries: Vectors, banned: Sequence[Collection[int]]) -> Vectors:
        scores = self._scores(queries)
        for row, positions in enumerate(banned):
            if positions:
                scores[row, Excluded.of(positions).places()] = -np.inf
        return scores

    def _alone(self, query: Vectors, n: int, banned: Collection[int]) -> Hits:
        scores = self._allowed_scores(query, [banned])[0]
        positions = within(scores, n, self._rounding).nonzero()[0]
        if self._tiles is None:
            found = self.similarities(query[0], positions)
        else:
            found = scores[positions].astype(np.float64)
        order = (-found).argsort(kind="stable")[:n]
        return Hits(positions[order], found[order])

    def _candidates(
        self, queries: Vectors, n: int, excluded: Sequence[Collection[int]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As :func:`pick` without groups, block by block of the pool: most of a block is below
        what the blocks before it have, and is dropped while it is in the cache."""
        rows = [Excluded.of(e) for e in excluded]
        banned_rows = np.repeat(np.arange(len(rows)), [len(e.single) for e in rows])
        banned = np.array([p for e in rows for p in e.single], dtype=np.int64)
        held = [(row, e) for row, e in enumerate(rows) if e.whole_groups]
        best = Best(len(queries), n)
        half = isinstance(self.vectors, HalfRows)
        step = HALF_BLOCK if half else _BLOCK
        buffer = np.empty((step if half else 0, self.vectors.shape[1]), dtype=np.float32)
        blocks = -(-len(self) // step)
        for start in range(0, len(self), step):
            if isinstance(self.vectors, HalfRows):
                vectors = self.vectors.block(start, buffer)
            else:
                vectors = self.vectors[start : start + step]
            scores = inner_products(queries, vectors, blocks=blocks)
            if len(banned):
                here = (banned >= start) & (banned < start + len(vectors))
                scores[banned_rows[here], banned[here] - start] = -np.inf
            for row, e in held:
                scores[row, e.by_group(start, start + len(vectors))] = -np.inf
            best.add(scores, start)
        return best.found()

    def near(self, queries: Vectors, threshold: float) -> list[NDArray[np.int64]]:
        """For each query, the positions whose similarity is at least ``threshold``."""
        step = max(1, _BATCH_CELLS // max(1, len(self)))
        return [
            np.flatnonzero(row >= threshold - ROUNDING)
            for start in range(0, len(queries), step)
            for row in self._scores(queries[start : start + step])
        ]

    def rank(self, query: Vectors, positions: NDArray[np.int64]) -> Hits:
        """Some positions by their exact similarity to one query, shape (dimensions,)."""
        return ranked(positions, self.similarities(query, positions))

    def similarities(self, query: Vectors, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of some positions to one query, shape (dimensions,): those that :meth:`search` tells."""
        query = np.ascontiguousarray(query, dtype=np.float32)
        if self._tiles is not None:
            return np.asarray(self._tiles.scores(query[None])[0, positions], dtype=np.float64)
        return exact_similarities(self.vectors[positions], query)
