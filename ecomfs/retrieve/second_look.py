"""Candidates in their order.

A matrix product rounds differently for another batch size, which would let the same row get
other demonstrations when it is scored alone. So the similarities of candidates are computed
again, pair by pair (:class:`Pairs`), unless scores are the same always (:class:`Scored`). Where
each query has about as many candidates, all of them are two arrays; else one list with the
number of the query beside each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.candidates import Groups, top_of_each
from ecomfs.retrieve.half import Vectors
from ecomfs.retrieve.hits import Hits, HitTable

_PAIR_CELLS = 1 << 17  # numbers of pairs of vectors that are copied at a time: the CPU's cache
_UNEVEN = 16  # candidates more than are wanted, up to which all queries are given as many

Positions = NDArray[np.int64]


class Rows(Protocol):
    """Unit vectors by position, wherever they are kept."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: NDArray[np.int64], /) -> NDArray[Any]:
        """The vectors at ``positions``, float32."""
        ...


def exact_similarities(vectors: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.float64]:
    """Inner products along the last axis, whose rounding depends on the two rows alone; the
    shapes are as for broadcasting."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    query = np.asarray(queries, dtype=np.float32)
    return np.asarray(np.vecdot(rows, query), dtype=np.float64)


def ranked(positions: Positions, similarities: NDArray[np.float64]) -> Hits:
    """Candidates of one query, the most similar first; ties in the order of the pool."""
    order = np.lexsort((positions, -similarities))
    return Hits(positions[order], similarities[order])


class Look(Protocol):
    """The similarities of candidates to their queries, which depend on nothing else."""

    def table(self, positions: Positions) -> Vectors:
        """Of positions of shape (queries, any number)."""
        ...

    def listed(self, rows: Positions, positions: Positions) -> Vectors:
        """Of positions, each with the number of its query."""
        ...


class Scored:
    """Similarities that are known already.

    Args:
        scores: shape (queries, pool).
    """

    def __init__(self, scores: Vectors) -> None:
        self._scores = scores

    def table(self, positions: Positions) -> Vectors:
        return self._scores[np.arange(len(positions))[:, None], positions]

    def listed(self, rows: Positions, positions: Positions) -> Vectors:
        return self._scores[rows, positions]


class Pairs:
    """Similarities pair by pair."""

    def __init__(self, vectors: Rows, queries: Vectors) -> None:
        self._vectors = vectors
        self._queries = queries

    def table(self, positions: Positions) -> Vectors:
        count, width = positions.shape
        found = np.empty((count, width), dtype=np.float32)
        step = max(1, _PAIR_CELLS // max(1, width * self._queries.shape[1]))
        for start in range(0, count, step):
            part = slice(start, start + step)
            vectors = _some(self._vectors, positions[part])
            np.vecdot(vectors, self._queries[part, None], out=found[part])
        return found

    def listed(self, rows: Positions, positions: Positions) -> Vectors:
        found = np.empty(len(rows), dtype=np.float32)
        step = max(1, _PAIR_CELLS // max(1, self._queries.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            vectors = _some(self._vectors, positions[part])
            np.vecdot(vectors, self._queries[rows[part]], out=found[part])
        return found


def nearest_of_each(
    look: Look, count: int, rows: Positions, positions: Positions, n: int
) -> Sequence[Hits]:
    """The ``n`` nearest candidates of each query.

    Args:
        count: of queries.
        rows: of each candidate, the number of its query; ascending.
        positions: of the candidates; of a query, ascending.
    """
    bounds = rows.searchsorted(np.arange(count + 1))
    first, after = bounds[:-1, None], bounds[1:, None]
    counts = after - first
    most = int(counts.max(initial=0))
    if not n or most > n + _UNEVEN or counts.min(initial=n) < n:
        return nearest_of_each_and_group(look, count, rows, positions, n, None, 0, True)
    if most * count == len(rows):
        return _of_table(look, positions.reshape(count, most), n)
    # Who has fewer is given candidates of the next, infinitely far away.
    places = first + np.arange(most)
    return _of_table(look, positions.take(places, mode="clip"), n, nobody=places >= after)


def nearest_of_each_and_group(
    look: Look,
    count: int,
    rows: Positions,
    positions: Positions,
    n: int,
    groups: Groups | None,
    per_group: int,
    far_groups: bool,
) -> list[Hits]:
    """As :func:`nearest_of_each`, and the nearest of groups: see :func:`top_of_each`."""
    found = look.listed(rows, positions).astype(np.float64)
    order = np.lexsort((positions, -found, rows))
    have = None if groups is None or not per_group else groups.group_of[positions[order]]
    kept = top_of_each(rows, n, have, per_group, far_groups)
    rows, positions, found = rows[kept], positions[order[kept]], found[order[kept]]
    bounds = np.searchsorted(rows, np.arange(count + 1)).tolist()
    return [
        Hits(positions[begin:end], found[begin:end]) for begin, end in itertools.pairwise(bounds)
    ]


def _of_table(
    look: Look, table: Positions, n: int, nobody: NDArray[np.bool_] | None = None
) -> HitTable:
    count, width = table.shape
    found = look.table(table)
    if nobody is not None:
        found[nobody] = -np.inf
    order = (-found).argsort(axis=1, kind="stable")[:, :n]
    order += np.arange(0, count * width, width)[:, None]  # in the arrays laid flat
    return HitTable(table.take(order), found.take(order).astype(np.float64))


def _some(vectors: Rows, positions: Positions) -> NDArray[Any]:
    """Vectors by position: taking checks no bounds, which indexing does."""
    if isinstance(vectors, np.ndarray):
        return vectors.take(positions, axis=0, mode="clip")
    return vectors[positions]


__all__ = [
    "Look",
    "Pairs",
    "Rows",
    "Scored",
    "exact_similarities",
    "nearest_of_each",
    "nearest_of_each_and_group",
    "ranked",
]
