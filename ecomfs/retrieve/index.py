"""Exact nearest neighbours by inner product, and the types shared by all indexes.

The rounding of a matrix product depends on the batch size. So the product only selects candidates:
the best, and all within rounding error of them. Their similarities are computed again pair by pair,
so that a row has the same neighbours alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ecomfs.embed import Vectors

Positions = NDArray[np.int64]

Pairs = tuple[Positions, Positions]
"""Query numbers and pool positions: one candidate per entry."""

ROUNDING = 4e-6
"""Largest rounding error of a float32 product of unit vectors, with a margin."""
_CELLS = 1 << 23  # similarities in memory at a time: 32 MB, and the same to find the largest
_SMALL_PRODUCT = 1 << 29  # multiplications
_PAIRS = 4096  # pairs of vectors compared at a time


@dataclass(frozen=True, slots=True)
class Hits:
    """The neighbours of one query, most similar first; ties in the order of the pool.

    Attributes:
        positions: positions in the pool, shape (n,).
        similarities: cosine to the query, shape (n,).

    >>> len(Hits(np.array([4, 2]), np.array([0.9, 0.8])))
    2
    """

    positions: Positions
    similarities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)


class Groups:
    """A partition of the pool, such as the examples of each label.

    Parameters
    ----------
    group_of
        Number of each position's group, shape (size,), counting from 0.

    Examples
    --------
    >>> [g.tolist() for g in Groups(np.array([0, 1, 0])).members]
    [[0, 2], [1]]
    """

    def __init__(self, group_of: Positions) -> None:
        self.group_of = group_of
        count = int(group_of.max(initial=-1)) + 1
        order = np.argsort(group_of, kind="stable")
        bounds = np.searchsorted(group_of[order], np.arange(1, count))
        self.members = np.split(order, bounds)
        self.sizes = np.array([len(members) for members in self.members], dtype=np.int64)


class Excluded(Collection[int]):
    """Positions of the pool that are excluded for a query.

    Groups are excluded as a whole and not position by position: if a row may have 20 of 77 labels,
    most of a million examples are excluded.

    Parameters
    ----------
    positions
        Single examples.
    groups
        The examples of each label.
    allowed
        Numbers of the groups that are not excluded; ``None``: no group is excluded.

    Examples
    --------
    >>> groups = Groups(np.array([0, 1, 2, 0]))
    >>> excluded = Excluded({3}, groups, allowed=[0, 2])
    >>> sorted(excluded), len(excluded), 1 in excluded, 2 in excluded
    ([1, 3], 2, True, False)
    >>> excluded.free(np.array([2, 1, 0])).tolist(), excluded.left(groups).tolist()
    ([True, False, True], [1, 0, 1])
    >>> len(excluded | {0})
    3
    """

    __slots__ = ("_allowed", "_groups", "single")

    def __init__(
        self,
        positions: Iterable[int] = (),
        groups: Groups | None = None,
        allowed: Collection[int] | None = None,
    ) -> None:
        self.single = set(positions)
        self._groups = groups
        self._allowed: NDArray[np.bool_] | None = None
        if groups is not None and allowed is not None:
            shown = np.zeros(len(groups.members), dtype=bool)
            shown[list(allowed)] = True
            self._allowed = None if shown.all() else shown

    @classmethod
    def of(cls, positions: Collection[int]) -> Excluded:
        """Convert a collection of positions to :class:`Excluded`."""
        return positions if isinstance(positions, cls) else cls(positions)

    def __contains__(self, position: object) -> bool:
        if position in self.single:
            return True
        if self._allowed is None or self._groups is None or not isinstance(position, SupportsIndex):
            return False
        return not self._allowed[self._groups.group_of[position]]

    def __len__(self) -> int:
        if self._allowed is None or self._groups is None:
            return len(self.single)
        return int((self._groups.sizes - self.left(self._groups)).sum())

    def __iter__(self) -> Iterator[int]:
        return iter(self.places().tolist())

    def __or__(self, positions: Collection[int]) -> Excluded:
        more = Excluded(self.single.union(positions))
        more._groups, more._allowed = self._groups, self._allowed
        return more

    def update(self, positions: Iterable[int]) -> None:
        """Exclude further examples."""
        self.single.update(positions)

    @property
    def whole_groups(self) -> bool:
        """Whether any group is excluded."""
        return self._allowed is not None

    def places(self) -> Positions:
        """All excluded positions, each once; O(pool) if a group is excluded."""
        if self._groups is None or self._allowed is None:
            return np.fromiter(self.single, dtype=np.int64, count=len(self.single))
        mask = ~self._allowed[self._groups.group_of]
        mask[list(self.single)] = True
        return np.flatnonzero(mask)

    def left(self, groups: Groups) -> Positions:
        """The number of examples of each group that are not excluded. If this object has groups,
        ``groups`` must be the same."""
        left = groups.sizes.copy()
        if self.single:
            gone = groups.group_of[list(self.single)]
            left -= np.bincount(gone, minlength=len(left))
        if self._allowed is not None:
            left[~self._allowed] = 0
        return left

    def free(self, positions: Positions) -> NDArray[np.bool_]:
        """For each of some positions, whether it is not excluded."""
        free = np.ones(len(positions), dtype=bool)
        if self._allowed is not None and self._groups is not None:
            free = np.asarray(self._allowed[self._groups.group_of[positions]])
        if self.single:
            free &= np.fromiter((p not in self.single for p in positions.tolist()), dtype=bool)
        return free


class VectorRows(Protocol):
    """Unit vectors by position, in any storage."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: Positions, /) -> NDArray[Any]:
        """The vectors at ``positions``, float32."""
        ...


class VectorIndex(Protocol):
    """Finds neighbours by vectors; :class:`DenseIndex` documents the methods."""

    @property
    def vectors(self) -> VectorRows: ...

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

    def rank(self, query: Vectors, positions: Positions) -> Hits: ...

    def updated(self, positions: Positions, new: Vectors) -> VectorIndex: ...


class DenseIndex:
    """Exact search: every vector is compared. Fastest up to about 100,000 vectors.

    Parameters
    ----------
    vectors
        Unit rows, shape (size, dimensions); kept as float32.

    Examples
    --------
    >>> index = DenseIndex(np.eye(3, dtype=np.float32))
    >>> hits = index.search(np.array([[0.6, 0.8, 0.0]], dtype=np.float32), 2)[0]
    >>> hits.positions.tolist(), hits.similarities.round(3).tolist()
    ([1, 0], [0.8, 0.6])
    """

    def __init__(self, vectors: NDArray[np.floating]) -> None:
        self.vectors: Vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def description(self) -> str:
        """Kind and size, for reports."""
        return f"exact, {len(self):,} vectors"

    def updated(self, positions: Positions, new: Vectors) -> DenseIndex:
        """The index for another version of the pool.

        Parameters
        ----------
        positions
            For each example its position in this index, or -1 for the next vector of ``new``.
        new
            Vectors of the examples that are not in this index.
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
        """The ``n`` nearest neighbours of each query and the ``per_group`` nearest of each group.

        Parameters
        ----------
        queries
            Unit rows, shape (m, dimensions).
        n
            Neighbours per query; fewer if the pool has fewer.
        excluded
            For each query, positions that may not be returned.
        groups
            Groups of which the nearest ``per_group`` are returned too, at any distance.
        far_groups
            Whether this applies to all groups, or only to those of the ``n`` nearest.

        Returns
        -------
        list of Hits
            One per query.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        step = max(1, _CELLS // max(1, len(self.vectors)))
        found: list[Hits] = []
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            scores = _product(block, self.vectors)
            if excluded is not None:
                for row, places in enumerate(excluded[start : start + step]):
                    scores[row, Excluded.of(places).places()] = -np.inf
            near = _largest(scores, n)
            if groups is not None and per_group:
                near = _with_groups(scores, near, groups, per_group, far_groups)
            found += self._ranked(block, near, n, groups, per_group, far_groups)
        return found

    def _ranked(
        self,
        block: Vectors,
        candidates: Pairs,
        n: int,
        groups: Groups | None,
        per_group: int,
        far_groups: bool,
    ) -> list[Hits]:
        """The hits of each query of a block, from candidates."""
        rows, positions = candidates
        # Row by row: the vectors of one row's candidates fit into the CPU cache.
        ends = np.searchsorted(rows, np.arange(len(block) + 1)).tolist()
        parts = [
            exact_similarities(self.vectors, positions[a:b], query)
            for query, (a, b) in zip(block, pairwise(ends), strict=True)
        ]
        similarities = np.concatenate(parts)
        order = np.lexsort((positions, -similarities, rows))
        rows, positions, similarities = rows[order], positions[order], similarities[order]
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < n
        if groups is not None and per_group:
            group = groups.group_of[positions]
            wanted = np.full((len(block), len(groups.members)), far_groups)
            wanted[rows[kept], group[kept]] = True
            pair = rows * len(groups.members) + group
            by_pair = np.argsort(pair, kind="stable")  # within a pair the best stays first
            rank = np.empty(len(rows), dtype=np.int64)
            rank[by_pair] = np.arange(len(rows)) - np.searchsorted(pair[by_pair], pair[by_pair])
            kept |= wanted[rows, group] & (rank < per_group)
        bounds = np.searchsorted(rows[kept], np.arange(len(block) + 1)).tolist()
        positions, similarities = positions[kept], similarities[kept]
        return [Hits(positions[a:b], similarities[a:b]) for a, b in pairwise(bounds)]

    def rank(self, query: Vectors, positions: Positions) -> Hits:
        """Some positions by their exact similarity to one query, shape (dimensions,)."""
        return ranked(self.vectors, positions, query)


def exact_similarities(
    vectors: VectorRows, positions: Positions, query: Vectors
) -> NDArray[np.float64]:
    """Inner products of some rows with a query; their rounding depends on the pair alone.

    >>> exact_similarities(np.eye(3, dtype=np.float32), np.array([2, 0]), np.float32([1, 0, 0]))
    array([0., 1.])
    """
    found = np.empty(len(positions), dtype=np.float64)
    for start in range(0, len(positions), _PAIRS):
        part = slice(start, start + _PAIRS)
        found[part] = np.vecdot(vectors[positions[part]], query)
    return found


def ranked(vectors: VectorRows, positions: Positions, query: Vectors) -> Hits:
    """Rank candidates of a query, the most similar first; ties in the order of the pool."""
    similarities = exact_similarities(vectors, positions, query)
    order = np.lexsort((positions, -similarities))
    return Hits(positions[order], similarities[order])


def within_reach(
    hits: Hits, n: int, groups: Groups | None, per_group: int, far_groups: bool
) -> Hits:
    """Keep the ``n`` best of ranked candidates and ``per_group`` of each group; the arguments are
    those of :meth:`DenseIndex.search`."""
    if groups is None or not per_group:
        return Hits(hits.positions[:n], hits.similarities[:n])
    have = groups.group_of[hits.positions]
    kept = top(have, n, per_group, np.unique(have if far_groups else have[:n]))
    return Hits(hits.positions[kept], hits.similarities[kept])


def top(group_of: Positions, n: int, per_group: int, wanted: Iterable[int]) -> Positions:
    """Positions in a ranking to keep: the first ``n``, and the first ``per_group`` of each wanted
    group.

    Parameters
    ----------
    group_of
        Number of each entry's group, best entry first.

    Examples
    --------
    >>> top(np.array([0, 0, 0, 1, 0, 1]), 2, 1, [0, 1]).tolist()
    [0, 1, 3]
    """
    keep = np.arange(len(group_of)) < n
    for group in wanted:
        keep[np.flatnonzero(group_of == group)[:per_group]] = True
    return np.flatnonzero(keep)


def _product(block: Vectors, vectors: Vectors) -> Vectors:
    """Inner products, shape (queries, size). Small products use one thread: starting others would
    cost more CPU time than the product."""
    if len(block) == 1 or block.size * len(vectors) > _SMALL_PRODUCT:
        return np.asarray(block @ vectors.T)
    with _blas().limit(limits=1, user_api="blas"):
        return np.asarray(block @ vectors.T)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _largest(scores: Vectors, n: int) -> Pairs:
    """Rows and columns of the ``n`` largest scores of each row, and of all scores within rounding
    error of the last of them. Scores of -inf, which mark excluded positions, are left out."""
    size = scores.shape[1]
    if n <= 0 or not size:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    least = np.full(len(scores), np.finfo(np.float32).min, dtype=np.float32)
    if n < size:
        last = np.partition(scores, size - n, axis=1)[:, size - n]
        least = np.maximum(least, last - np.float32(ROUNDING))
    rows, columns = np.nonzero(scores >= least[:, None])
    return rows, columns


def _with_groups(
    scores: Vectors, near: Pairs, groups: Groups, per_group: int, far_groups: bool
) -> Pairs:
    """The candidates, and those with the largest scores of each group, either of all groups or of
    the groups of a row's candidates."""
    rows, columns = near
    wanted = np.full((len(scores), len(groups.members)), far_groups)
    wanted[rows, groups.group_of[columns]] = True
    pairs = [rows * scores.shape[1] + columns]
    for group in np.flatnonzero(wanted.any(axis=0)).tolist():
        own, mine = groups.members[group], np.flatnonzero(wanted[:, group])
        some, best = _largest(scores[np.ix_(mine, own)], per_group)
        pairs.append(mine[some] * scores.shape[1] + own[best])
    both = np.unique(np.concatenate(pairs))
    return both // scores.shape[1], both % scores.shape[1]


def kernel_vote(
    similarities: NDArray[np.float64],
    labels: NDArray[np.int64],
    label_count: int,
    temperature: float,
) -> NDArray[np.float64]:
    """The distribution over labels from the vote of one query's neighbours.

    Each of the k neighbours votes for its label with weight exp(similarity / temperature). One
    further vote is spread evenly over all L labels, so that no probability is 0:

        p(label) = (k · w(label) + 1/L) / (k + 1)

    where w are the summed weights per label, normalised to one.

    Args:
        similarities: similarities of the neighbours, shape (k,).
        labels: numbers of their labels, shape (k,).
        label_count: L.
        temperature: above 0.

    >>> kernel_vote(np.array([0.9, 0.9, 0.9]), np.array([0, 0, 1]), 2, 0.1).tolist()
    [0.625, 0.375]
    """
    k = len(similarities)
    if not k:
        return np.full(label_count, 1 / label_count)
    weights = np.exp((similarities - similarities.max()) / temperature)
    votes = np.bincount(labels, weights, minlength=label_count)
    share = votes / votes.sum()
    return np.asarray((k * share + 1 / label_count) / (k + 1), dtype=np.float64)
