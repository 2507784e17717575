"""Exact nearest neighbours by inner product.

One matrix product finds the candidates; their similarities are then computed again pair by
pair in float64. A matrix product rounds differently for another batch size, which would let the
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
            for offset, row in enumerate(similarities):
                banned = list(excluded[start + offset]) if excluded else []
                if banned:
                    row[banned] = -np.inf
                positions = pick(row, n, groups, per_group, far_groups)
                hits = self.rank(block[offset], positions)
                if groups is not None and per_group:
                    have = groups.group_of[hits.positions]
                    wanted = range(len(groups.members)) if far_groups else np.unique(have[:n])
                    keep = top(have, n, per_group, wanted)
                else:
                    keep = np.arange(min(n, len(hits)))
                found.append(Hits(hits.positions[keep], hits.similarities[keep]))
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
        exact = exact_similarities(self.vectors[positions], query)
        order = np.lexsort((positions, -exact))
        return Hits(positions[order], exact[order])


def exact_similarities(vectors: NDArray[Any], query: Vectors) -> NDArray[np.float64]:
    """Inner products whose rounding depends on the pair alone."""
    wide = vectors.astype(np.float64)
    return np.asarray(np.einsum("ij,j->i", wide, query.astype(np.float64)), dtype=np.float64)


def pick(
    row: Vectors, n: int, groups: Groups | None, per_group: int, far_groups: bool
) -> NDArray[np.int64]:
    """Positions of the ``n`` best scores of a row and ``per_group`` of each group, ascending,
    with all that rounding cannot tell apart from the last; never one whose score is -inf."""
    chosen = [_near(row, n)]
    if groups is not None and per_group:
        near = groups.members if far_groups else groups.around(chosen[0])
        chosen += [group[_near(row[group], per_group)] for group in near]
    return np.unique(np.concatenate(chosen))


def _near(similarities: Vectors, n: int) -> NDArray[np.int64]:
    """Places of the ``n`` largest and of all that rounding cannot tell from the last of them."""
    size = len(similarities)
    if n <= 0:
        return np.empty(0, dtype=np.int64)
    bound = -np.inf
    if n < size:
        bound = float(np.partition(similarities, size - n)[size - n])
    if bound == -np.inf:
        return np.flatnonzero(similarities > -np.inf)
    return np.flatnonzero(similarities >= bound - _ROUNDING)


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
