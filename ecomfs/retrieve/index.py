"""Exact nearest neighbours by inner product.

One matrix product finds the candidates; their similarities are then computed again pair by
pair. A matrix product rounds differently for another batch size, which would let the
same row get other demonstrations when it is scored alone; the second look is the same always.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_ROUNDING = 4e-6  # what a float32 product of unit vectors may be off, generously
_BATCH_CELLS = 1 << 24  # similarities held at a time: 64 MB


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
    ) -> list[Hits]: ...

    def near(self, queries: Vectors, threshold: float) -> list[NDArray[np.int64]]: ...

    def rank(self, query: Vectors, positions: NDArray[np.int64]) -> Hits: ...

    def updated(self, positions: NDArray[np.int64], new: Vectors) -> VectorIndex: ...


class Groups:
    """A partition of the pool.

    Args:
        group_of: number of each position's group, shape (size,), counting from 0.

    >>> [g.tolist() for g in Groups(np.array([0, 1, 0])).members]
    [[0, 2], [1]]
    """

    def __init__(self, group_of: NDArray[np.int64]) -> None:
        self.group_of = group_of
        count = int(group_of.max(initial=-1)) + 1
        order = np.argsort(group_of, kind="stable")
        bounds = np.searchsorted(group_of[order], np.arange(1, count))
        self.members = np.split(order, bounds)

    def around(self, positions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The groups that ``positions`` are from."""
        return [self.members[group] for group in np.unique(self.group_of[positions])]


class DenseIndex:
    """Brute force over all vectors: exact, and fastest up to about 100,000 of them.

    Args:
        vectors: unit rows, shape (size, dimensions).

    >>> index = DenseIndex(np.eye(3, dtype=np.float32))
    >>> hits = index.search(np.array([[0.6, 0.8, 0.0]], dtype=np.float32), 2)[0]
    >>> hits.positions.tolist(), hits.similarities.round(3).tolist()
    ([1, 0], [0.8, 0.6])
    """

    def __init__(self, vectors: Vectors) -> None:
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
        vectors = np.empty((len(positions), self.vectors.shape[1]), dtype=np.float32)
        vectors[positions >= 0] = self.vectors[positions[positions >= 0]]
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
    ) -> list[Hits]:
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
        found: list[Hits] = []
        step = max(1, _BATCH_CELLS // max(1, len(self)))
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            similarities = block @ self.vectors.T
            for row, banned in enumerate(excluded[start : start + step] if excluded else ()):
                if banned:
                    similarities[row, list(banned)] = -np.inf
            if len(block) == 1 and not (groups is not None and per_group):
                # What a service asks: one query, without the bookkeeping of many.
                positions = np.flatnonzero(_within(similarities[0], n))
                hits = self.rank(block[0], positions)
                found.append(Hits(hits.positions[:n], hits.similarities[:n]))
                continue
            rows, positions = pick(similarities, n, groups, per_group, far_groups)
            found += self._rank(block, rows, positions, n, groups, per_group, far_groups)
        return found

    def near(self, queries: Vectors, threshold: float) -> list[NDArray[np.int64]]:
        """For each query, the positions whose similarity is at least ``threshold``."""
        step = max(1, _BATCH_CELLS // max(1, len(self)))
        return [
            np.flatnonzero(row >= threshold - _ROUNDING)
            for start in range(0, len(queries), step)
            for row in queries[start : start + step] @ self.vectors.T
        ]

    def rank(self, query: Vectors, positions: NDArray[np.int64]) -> Hits:
        """Some positions by their exact similarity to one query, shape (dimensions,)."""
        exact = exact_similarities(self.vectors[positions], query[None])
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
    ) -> list[Hits]:
        exact = np.empty(len(rows))
        step = max(1, _BATCH_CELLS // (2 * max(1, self.vectors.shape[1])))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            exact[part] = exact_similarities(self.vectors[positions[part]], queries[rows[part]])
        order = np.lexsort((positions, -exact, rows))
        positions, exact = positions[order], exact[order]
        bounds = np.searchsorted(rows, np.arange(len(queries) + 1))
        ranked = []
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if groups is None or not per_group:
                end = min(end, begin + n)
                ranked.append(Hits(positions[begin:end], exact[begin:end]))
                continue
            have = groups.group_of[positions[begin:end]]
            wanted = range(len(groups.members)) if far_groups else np.unique(have[:n])
            keep = begin + top(have, n, per_group, wanted)
            ranked.append(Hits(positions[keep], exact[keep]))
        return ranked


def exact_similarities(vectors: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.float64]:
    """Inner products, row by row, whose rounding depends on the two rows alone; one query may
    stand for all."""
    rows = np.asarray(vectors, dtype=np.float32)
    query = np.broadcast_to(np.asarray(queries, dtype=np.float32), rows.shape)
    return np.asarray(np.einsum("ij,ij->i", rows, query), dtype=np.float64)


def pick(
    scores: Vectors, n: int, groups: Groups | None, per_group: int, far_groups: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row of scores, the ``n`` best and ``per_group`` of each group, with all that
    rounding cannot tell apart from the last; never one whose score is -inf.

    Returns:
        Rows and positions, ascending.
    """
    rows, positions = _near(scores, n)
    if groups is None or not per_group:
        return rows, positions
    size = scores.shape[1]
    keys = [rows * size + positions]
    around = None if far_groups else np.unique(rows * size + groups.group_of[positions])
    for number, members in enumerate(groups.members):
        if around is None:
            asked = np.arange(len(scores))
            inside, places = _near(scores[:, members], per_group)
        else:
            asked = around[around % size == number] // size
            inside, places = _near(scores[np.ix_(asked, members)], per_group)
        keys.append(asked[inside] * size + members[places])
    every = np.unique(np.concatenate(keys))
    return every // size, every % size


def _near(scores: Vectors, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, places = np.nonzero(_within(scores, n))
    return rows, places


def _within(scores: Vectors, n: int) -> NDArray[np.bool_]:
    """Which scores, along the last axis, are among the ``n`` largest or cannot be told from the
    last of them for rounding; never -inf."""
    size = scores.shape[-1]
    if n <= 0 or not scores.size:
        return np.zeros(scores.shape, dtype=bool)
    if n >= size:
        return scores > -np.inf
    bounds = np.partition(scores, size - n, axis=-1)[..., size - n, None] - _ROUNDING
    found = scores >= bounds
    if bounds.min() == -np.inf:  # fewer than n are allowed: what is forbidden stays out
        found &= scores > -np.inf
    return found


def top(
    groups: NDArray[np.int64], n: int, per_group: int, wanted: Iterable[int]
) -> NDArray[np.int64]:
    """Which of a ranking stay: the first ``n`` and the first ``per_group`` of each wanted group.

    Args:
        groups: number of each entry's group, best entry first.

    >>> top(np.array([0, 0, 0, 1, 0, 1]), 2, 1, [0, 1]).tolist()
    [0, 1, 3]
    """
    keep = np.arange(len(groups)) < n
    for group in wanted:
        keep[np.flatnonzero(groups == group)[:per_group]] = True
    return np.flatnonzero(keep)
