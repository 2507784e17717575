"""Exact nearest neighbours by inner product.

Matrix products find the candidates; their similarities are then computed again pair by
pair. A matrix product rounds differently for another batch size, which would let the
same row get other demonstrations when it is scored alone; the second look is the same always.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.candidates import ROUNDING, Best, Groups, pick, top, top_of_each, within
from ecomfs.retrieve.half import BLOCK, HalfRows, Vectors, can_scan
from ecomfs.retrieve.product import inner_products

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

_BATCH_CELLS = 1 << 24  # similarities held at a time: 64 MB
_PAIR_CELLS = 1 << 17  # numbers of pairs of vectors that are copied at a time: the CPU's cache
_SMALL = 1 << 20  # numbers in a matrix that is not worth keeping as float16: 4 MB


@dataclass(frozen=True, slots=True)
class Hits:
    """The neighbours of one query, most similar first; ties in the order of the pool.

    Attributes:
        positions: places in the pool, shape (n,).
        similarities: cosine to the query, shape (n,).
    """

    positions: NDArray[np.int64]
    similarities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)


class HitTable(Sequence[Hits]):
    """The neighbours of many queries where each has as many: two arrays, of which a query's
    :class:`Hits` are made when somebody asks for them.

    Attributes:
        positions: shape (queries, n).
        similarities: shape (queries, n).

    >>> table = HitTable(np.array([[2, 0], [1, 2]]), np.array([[0.9, 0.4], [0.8, 0.1]]))
    >>> len(table), table[1].positions.tolist(), [len(hits) for hits in table[:1]]
    (2, [1, 2], [2])
    """

    __slots__ = ("positions", "similarities")

    def __init__(self, positions: NDArray[np.int64], similarities: NDArray[np.float64]) -> None:
        self.positions = positions
        self.similarities = similarities

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, place: int) -> Hits: ...
    @overload
    def __getitem__(self, place: slice) -> HitTable: ...
    def __getitem__(self, place: int | slice) -> Hits | HitTable:
        kind = HitTable if isinstance(place, slice) else Hits
        return kind(self.positions[place], self.similarities[place])

    def __iter__(self) -> Iterator[Hits]:
        return map(Hits, self.positions, self.similarities)


class Rows(Protocol):
    """Unit vectors by position, wherever they are kept."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: NDArray[np.int64], /) -> NDArray[Any]:
        """Some vectors, shape (len(positions), dimensions)."""
        ...


class VectorIndex(Protocol):
    """Finds neighbours by vectors; see :class:`DenseIndex` for what the methods mean."""

    @property
    def vectors(self) -> Rows: ...

    @property
    def description(self) -> str: ...

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
        if vectors.dtype == np.float16 and vectors.size > _SMALL and can_scan():
            self.vectors = HalfRows(vectors.astype(np.float16, copy=False))
        else:
            self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def description(self) -> str:
        """What it is, for reports."""
        return f"exact, {len(self):,} vectors"

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
        grouped = groups is not None and per_group > 0
        if len(queries) == 1 and not grouped:
            # What a service asks: one query, without the bookkeeping of many.
            return [self._alone(queries, n, excluded[0] if excluded else ())]
        step = max(1, _BATCH_CELLS // max(1, len(self) if grouped else BLOCK))
        simple = 0 < n <= len(self) <= BLOCK and len(queries) <= step and not grouped
        if simple and not any(excluded or ()) and (table := self._table(queries, n)) is not None:
            return table
        found: list[Hits] = []
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            banned = excluded[start : start + step] if excluded else ()
            if grouped:
                scores = self._scores(block)
                for row, positions in enumerate(banned):
                    scores[row, list(positions)] = -np.inf
                rows, positions = pick(scores, n, groups, per_group, far_groups)
            else:
                rows, positions = self._candidates(block, n, banned)
            found += self._rank(block, rows, positions, n, groups, per_group, far_groups)
        return found

    def _scores(self, queries: Vectors) -> Vectors:
        if isinstance(self.vectors, HalfRows):
            return self.vectors.scores(queries)
        return inner_products(queries, self.vectors)

    def _alone(self, query: Vectors, n: int, banned: Collection[int]) -> Hits:
        scores = self._scores(query)[0]
        if banned:
            scores[list(banned)] = -np.inf
        positions = within(scores, n).nonzero()[0]
        exact = exact_similarities(self.vectors[positions], query[0])
        order = (-exact).argsort(kind="stable")[:n]
        return Hits(positions[order], exact[order])

    def _table(self, queries: Vectors, n: int) -> HitTable | None:
        """The answer for a block of queries and of the pool that excludes nothing; ``None`` where
        rounding leaves many more than ``n`` candidates to one of the queries."""
        size, scores = len(self), self._scores(queries)
        found = within(scores, n)
        cells = found.ravel().nonzero()[0]
        if len(cells) == n * len(queries):
            each = cells.reshape(len(queries), n) - np.arange(len(queries))[:, None] * size
            return self._rank_table(queries, each, n)
        most = int(found.sum(axis=1).max())
        if most > 2 * n:
            return None
        # As many for each query: those of lower score that come in cannot be among the best.
        each = np.argpartition(scores, size - most, axis=1)[:, size - most :]
        return self._rank_table(queries, np.sort(each, axis=1), n)

    def _candidates(
        self, queries: Vectors, n: int, excluded: Sequence[Collection[int]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As :func:`pick` without groups, block by block of the pool: most of a block is below
        what the blocks before it have, and is dropped while it is in the cache."""
        if not any(excluded) and len(self) <= BLOCK:
            return pick(self._scores(queries), n, None, 0, False)
        banned_rows = np.repeat(np.arange(len(excluded)), [len(e) for e in excluded])
        banned = np.array([p for e in excluded for p in e], dtype=np.int64)
        best = Best(len(queries), n)
        buffer = np.empty((BLOCK, self.vectors.shape[1]), dtype=np.float32)
        for start in range(0, len(self), BLOCK):
            if isinstance(self.vectors, HalfRows):
                vectors = self.vectors.block(start, buffer)
            else:
                vectors = self.vectors[start : start + BLOCK]
            scores = inner_products(queries, vectors)
            if len(banned):
                here = (banned >= start) & (banned < start + len(vectors))
                scores[banned_rows[here], banned[here] - start] = -np.inf
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
        exact = exact_similarities(self.vectors[positions], query)
        order = np.lexsort((positions, -exact))
        return Hits(positions[order], exact[order])

    def _rank(
        self,
        queries: Vectors,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        n: int,
        groups: Groups | None,
        per_group: int,
        far_groups: bool,
    ) -> Sequence[Hits]:
        each, left = divmod(len(rows), len(queries))
        if not ((groups is not None and per_group) or left) and np.array_equal(
            rows, np.repeat(np.arange(len(queries)), each)
        ):
            # Nearly always: as many candidates for each query, in two dimensions then.
            return self._rank_table(queries, positions.reshape(len(queries), each), n)
        exact = np.empty(len(rows))
        step = max(1, _PAIR_CELLS // max(1, self.vectors.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            exact[part] = exact_similarities(self.vectors[positions[part]], queries[rows[part]])
        order = np.lexsort((positions, -exact, rows))
        have = None if groups is None or not per_group else groups.group_of[positions[order]]
        kept = top_of_each(rows, n, have, per_group, far_groups)
        rows, positions, exact = rows[kept], positions[order[kept]], exact[order[kept]]
        bounds = np.searchsorted(rows, np.arange(len(queries) + 1)).tolist()
        return [
            Hits(positions[begin:end], exact[begin:end])
            for begin, end in itertools.pairwise(bounds)
        ]

    def _rank_table(self, queries: Vectors, table: NDArray[np.int64], n: int) -> HitTable:
        exact = np.empty(table.shape)
        step = max(1, _PAIR_CELLS // max(1, table.shape[1] * self.vectors.shape[1]))
        for start in range(0, len(table), step):
            part = slice(start, start + step)
            exact[part] = exact_similarities(self._some(table[part]), queries[part, None])
        order = (-exact).argsort(axis=1, kind="stable")[:, :n]
        order += np.arange(len(table))[:, None] * table.shape[1]  # in the arrays laid flat
        return HitTable(table.ravel()[order], exact.ravel()[order])

    def _some(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Vectors by position: taking checks no bounds, which indexing does."""
        if isinstance(self.vectors, HalfRows):
            return self.vectors[positions]
        return self.vectors.take(positions, axis=0, mode="clip")


def exact_similarities(vectors: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.float64]:
    """Inner products along the last axis, whose rounding depends on the two rows alone; the
    shapes are as for broadcasting."""
    rows = np.asarray(vectors, dtype=np.float32)
    query = np.asarray(queries, dtype=np.float32)
    return np.asarray(np.vecdot(rows, query), dtype=np.float64)
