"""Approximate nearest neighbours for large pools: an inverted file of float16 vectors (FAISS).

Vectors are clustered into lists; a query is compared with the lists of the nearest centres only.
The number of lists to probe is measured when the index is built: the fewest that find the ten
nearest of a sample of examples, and at most a quarter. The measured recall is in the description.

The vectors are stored once, as float16, in FAISS's lists. Examples added later are in a tail, which
is searched exactly; removed examples are skipped. The index is rebuilt when a fifth has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Vectors
from ecomfs.errors import ConfigError
from ecomfs.retrieve.index import (
    Excluded,
    Groups,
    Hits,
    Positions,
    VectorRows,
    ranked,
    top,
    within_reach,
)

MOST_CHANGED = 0.2
"""Share of the index that may be added or removed before it is rebuilt."""
TARGET_RECALL = 0.99
MOST_LISTS = 0.25
"""Largest share of lists to probe: with more, exact search is as fast."""

_CHUNK = 1 << 16  # vectors converted to float32 at a time
_SAMPLE = 256  # examples on which the recall is measured
_TRAINING = 64  # vectors per centre
_SPARE = 16  # extra candidates for exact re-ranking
_FEW = 256  # up to this many excluded positions are fetched and dropped, not filtered in FAISS
_DEEP = 256  # neighbours fetched for searches by group: with probes for the ten nearest, an index
# finds 98 % of the nearest 256, but only half of the nearest 1,000 in small clusters
_SMALL_GROUP = 512  # groups up to this size are compared completely, which is cheaper
_NOTHING = Excluded()


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ConfigError(
            "an approximate index needs faiss", hint="pip install 'ecomfs[retrieval]'"
        ) from error
    return faiss


class IVFIndex:
    """An inverted-file index; use :meth:`build` to make one.

    Attributes:
        probes: number of lists searched per query.
        recall: measured share of the ten nearest that are found, with examples as queries.
    """

    def __init__(
        self,
        lists: Any,
        probes: int,
        recall: float,
        *,
        rows: Positions | None = None,
        tail: Vectors | None = None,
    ) -> None:
        self._faiss = _faiss()
        self._lists = lists
        self.probes = probes
        self.recall = recall
        self._base = int(lists.ntotal)
        self._tail = np.empty((0, lists.d), dtype=np.float32) if tail is None else tail
        self._placed = Placement(self._base, len(self._tail), rows)
        self._tail_positions = self._placed.positions(np.arange(self._base, self._placed.total))
        alive = self._placed.alive()
        self._alive = None if alive is None else self._selector(alive)
        self._group_selectors: dict[int, Any] = {}
        self._selectors_of: Groups | None = None
        self.vectors: VectorRows = _StoredRows(lists, self._placed, self._tail)

    @classmethod
    def build(cls, vectors: NDArray[Any], *, seed: int = 0) -> IVFIndex:
        """Build from unit rows.

        Parameters
        ----------
        vectors
            Shape (size, dimensions), float16 or float32.
        seed
            Seed of the clustering.

        Raises
        ------
        ConfigError
            faiss is not installed.
        """
        faiss = _faiss()
        size, dimensions = vectors.shape
        count = max(1, min(size // 40, int(2 * size**0.5)))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimensions),
            dimensions,
            count,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,  # store vectors, not residuals, so that they can be read back exactly
        )
        index.cp.seed = seed + 1
        index.cp.niter = 8
        rng = np.random.default_rng(seed)
        sample = np.sort(rng.choice(size, min(size, _TRAINING * count), replace=False))
        index.train(np.ascontiguousarray(vectors[sample], dtype=np.float32))
        for start in range(0, size, _CHUNK):
            index.add(np.ascontiguousarray(vectors[start : start + _CHUNK], dtype=np.float32))
        probes, recall = _probes_needed(faiss, index, vectors, count, rng)
        index.set_direct_map_type(faiss.DirectMap.Array)
        return cls(index, probes, recall)

    @property
    def description(self) -> str:
        """Kind, size and measured recall, for reports."""
        return (
            f"IVF, {len(self):,} vectors in {self._lists.nlist:,} lists, {self.probes} probed,"
            f" recall@10 {self.recall:.3f}"
        )

    @property
    def changed(self) -> float:
        """Share of the index added or removed since it was built."""
        return (self._placed.gone + len(self._tail)) / max(1, self._base)

    def __len__(self) -> int:
        return len(self._placed)

    def updated(self, positions: Positions, new: Vectors) -> IVFIndex:
        """See :meth:`ecomfs.retrieve.DenseIndex.updated`."""
        rows = np.where(positions >= 0, self._placed.rows(np.maximum(positions, 0)), -1)
        kept = np.unique(rows[rows >= self._base]) - self._base
        tail = np.concatenate([self._tail[kept], np.asarray(new, dtype=np.float32)])
        of_tail = rows >= self._base
        rows[of_tail] = self._base + np.searchsorted(kept, rows[of_tail] - self._base)
        fresh = positions < 0
        rows[fresh] = self._base + len(kept) + np.arange(int(fresh.sum()))
        index = IVFIndex(self._lists, self.probes, self.recall, rows=rows, tail=tail)
        if index.changed <= MOST_CHANGED:
            return index
        whole = np.empty((len(rows), self._lists.d), dtype=np.float16)
        for start in range(0, len(rows), _CHUNK):
            block = np.arange(start, min(start + _CHUNK, len(rows)))
            whole[block] = index.vectors[block]
        return IVFIndex.build(whole)

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
        """As :meth:`ecomfs.retrieve.DenseIndex.search`, but approximate; the similarities are
        exact."""
        banned = [Excluded.of(e) for e in excluded] if excluded else [_NOTHING for _ in queries]
        grouped = groups if per_group else None
        deep = grouped is not None or any(b.whole_groups for b in banned)
        few = max((len(b.single) for b in banned if len(b.single) <= _FEW), default=0)
        wide = max(n, per_group, _DEEP if deep else 0) + few + _SPARE
        result = []
        for query, near, b in zip(queries, self._nearest(queries, wide), banned, strict=True):
            if b:
                near = self._without(query, near, n, b)
            found = near.positions[: n + _SPARE]
            if grouped is not None:
                have = grouped.group_of[near.positions]
                wanted = range(len(grouped.members)) if far_groups else np.unique(have[:n])
                lacking = np.bincount(have, minlength=len(grouped.members)) < np.minimum(
                    per_group, b.left(grouped)
                )
                more = [near.positions[top(have, n + _SPARE, per_group + _SPARE, wanted)]]
                for group in wanted:
                    if lacking[group]:
                        more.append(self._of_group(query, per_group, b, grouped, int(group)))
                found = np.unique(np.concatenate(more))
            hits = self.rank(query, found)
            result.append(within_reach(hits, n, grouped, per_group, far_groups))
        return result

    def rank(self, query: Vectors, positions: Positions) -> Hits:
        """Some positions by their exact similarity to one query, shape (dimensions,)."""
        return ranked(self.vectors, positions, query)

    def _nearest(self, queries: Vectors, n: int) -> list[Hits]:
        scores, rows = self._probe(queries, n, self._alive, self.probes)
        base = [self._hits(*found) for found in zip(scores, rows, strict=True)]
        if not len(self._tail):
            return base
        late = (queries @ self._tail.T).astype(np.float64)
        return [
            _both(near, Hits(self._tail_positions, s), n)
            for near, s in zip(base, late, strict=True)
        ]

    def _without(self, query: Vectors, near: Hits, n: int, banned: Excluded) -> Hits:
        """The nearest that are not excluded; searches again if too few are left."""
        free = banned.free(near.positions)
        left = len(self) - len(banned)
        if len(banned) <= _FEW or int(free.sum()) >= min(n, left):
            return Hits(near.positions[free], near.similarities[free])
        allowed = np.ones(len(self), dtype=bool)
        allowed[banned.places()] = False
        mask = self._placed.mask(allowed)
        return self._widening(
            query, n, self._selector(mask[: self._base]), left, mask[self._base :]
        )

    def _of_group(
        self, query: Vectors, n: int, banned: Excluded, groups: Groups, group: int
    ) -> Positions:
        """Positions that include the nearest members of a group that are not excluded."""
        members = groups.members[group]
        few = len(banned.single) <= _FEW
        if len(members) <= _SMALL_GROUP or not few:
            members = members[banned.free(members)]
        if len(members) <= _SMALL_GROUP:
            return members
        if not few:
            mask = self._placed.mask(members)
            selector = self._selector(mask[: self._base])
            return self._widening(query, n, selector, len(members), mask[self._base :]).positions
        if self._selectors_of is not groups:
            self._selectors_of, self._group_selectors = groups, {}
        if group not in self._group_selectors:
            mask = self._placed.mask(members)
            self._group_selectors[group] = self._selector(mask[: self._base])
        selector = self._group_selectors[group]
        tail = groups.group_of[self._tail_positions] == group
        near = self._widening(query, n + len(banned.single), selector, len(members), tail)
        return near.positions[banned.free(near.positions)]

    def _widening(
        self, query: Vectors, n: int, selector: Any, available: int, tail: NDArray[np.bool_]
    ) -> Hits:
        """Probe more and more lists until enough of the selected examples are found and further
        lists change nothing: selected examples may be in any list."""
        late = Hits(self._tail_positions[tail], (self._tail[tail] @ query).astype(np.float64))
        wanted = min(n, available - int(tail.sum()))
        probes, before = self.probes, None
        while True:
            scores, rows = self._probe(query[None], n, selector, probes)
            found = np.sort(rows[0][rows[0] >= 0])
            settled = before is not None and np.array_equal(found, before)
            if (len(found) >= wanted and settled) or probes >= self._lists.nlist:
                return _both(self._hits(scores[0], rows[0]), late, n)
            probes, before = probes * 4, found

    def _probe(
        self, queries: Vectors, n: int, selector: Any, probes: int
    ) -> tuple[Vectors, Positions]:
        """Scores and rows of the nearest, best first; -1 if fewer are found."""
        settings = self._faiss.SearchParametersIVF(
            nprobe=min(probes, self._lists.nlist), **({} if selector is None else {"sel": selector})
        )
        n = min(n, self._base)
        scores, rows = self._lists.search(np.ascontiguousarray(queries), n, params=settings)
        return scores, np.asarray(rows, dtype=np.int64)

    def _hits(self, scores: Vectors, rows: Positions) -> Hits:
        found = rows >= 0
        return Hits(self._placed.positions(rows[found]), scores[found].astype(np.float64))

    def _selector(self, mask: NDArray[np.bool_]) -> Any:
        return self._faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def _both(near: Hits, late: Hits, n: int) -> Hits:
    """The ``n`` nearest from lists and tail, best first."""
    if not len(late.positions):
        return near
    positions = np.concatenate([near.positions, late.positions])
    scores = np.concatenate([near.similarities, late.similarities])
    best = np.argsort(-scores, kind="stable")[:n]
    return Hits(positions[best], scores[best])


class Placement:
    """Maps positions in the pool to rows of the index, whose lists do not change with the pool.

    A *position* is the place of an example in the pool, a *row* its place in the index. The rows of
    the lists come first, then those of the tail.

    Parameters
    ----------
    base
        Number of rows in the lists.
    tail
        Number of rows in the tail.
    rows
        The row of each position; ``None``: the pool has not changed since the lists were built, so
        that rows equal positions.

    Examples
    --------
    >>> placed = Placement(3, 1, np.array([2, 3, 0]))  # row 1 was removed, row 3 added
    >>> placed.rows(np.array([0, 1])).tolist(), placed.positions(np.array([0, 2])).tolist()
    ([2, 3], [2, 0])
    >>> placed.gone, placed.alive().tolist()
    (1, [True, False, True])
    >>> same = Placement(3)
    >>> len(same), same.rows(np.array([1])).tolist(), same.gone, same.alive() is None
    (3, [1], 0, True)
    """

    def __init__(self, base: int, tail: int = 0, rows: Positions | None = None) -> None:
        self.base = base
        self.total = base + tail
        self._rows: NDArray[np.int32] | None = None
        self._positions: NDArray[np.int32] | None = None
        if rows is not None:
            self._rows = rows.astype(np.int32)
            self._positions = np.full(self.total, -1, dtype=np.int32)
            self._positions[rows] = np.arange(len(rows), dtype=np.int32)
        elif tail:
            raise ValueError("a tail without rows")

    def __len__(self) -> int:
        return self.base if self._rows is None else len(self._rows)

    def rows(self, positions: Positions) -> Positions:
        """Rows of positions."""
        return positions if self._rows is None else self._rows[positions].astype(np.int64)

    def positions(self, rows: Positions) -> Positions:
        """Positions of rows; -1 for a row whose example was removed."""
        return rows if self._positions is None else self._positions[rows].astype(np.int64)

    @property
    def gone(self) -> int:
        """Number of rows of the lists whose example was removed."""
        return 0 if self._rows is None else self.base - int((self._rows < self.base).sum())

    def alive(self) -> NDArray[np.bool_] | None:
        """For each row of the lists, whether its example is in the pool; ``None``: all are."""
        if self._positions is None or not self.gone:
            return None
        return np.asarray(self._positions[: self.base] >= 0)

    def mask(self, positions: Any) -> NDArray[np.bool_]:
        """Mask of the rows of some positions, given as numbers or as a mask, shape (total,)."""
        out = np.zeros(self.total, dtype=bool)
        out[positions if self._rows is None else self._rows[positions]] = True
        return out


class _StoredRows:
    """Vectors by position, read from the lists of an index and from its tail."""

    def __init__(self, lists: Any, placed: Placement, tail: Vectors) -> None:
        self._lists = lists
        self._placed = placed
        self._tail = tail

    def __len__(self) -> int:
        return len(self._placed)

    def __getitem__(self, positions: Positions) -> Vectors:
        rows = self._placed.rows(positions)
        stored = rows < self._placed.base
        if stored.all():  # the usual case, without a second copy
            return np.asarray(self._lists.reconstruct_batch(rows), dtype=np.float32)
        out = np.empty((len(rows), self._lists.d), dtype=np.float32)
        if stored.any():
            out[stored] = self._lists.reconstruct_batch(rows[stored])
        out[~stored] = self._tail[rows[~stored] - self._placed.base]
        return out


def _probes_needed(
    faiss: Any, index: Any, vectors: NDArray[Any], lists: int, rng: np.random.Generator
) -> tuple[int, float]:
    """The smallest power of two of probes that reaches the target recall, and its recall. If the
    vectors have no clusters, as many probes as cost no more than an exact search."""
    places = np.sort(rng.choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False))
    queries = np.ascontiguousarray(vectors[places], dtype=np.float32)
    n = min(11, len(vectors))  # the example itself is always found, so ten others count
    scores = np.full((len(places), n), -np.inf, dtype=np.float32)
    nearest = np.full((len(places), n), -1, dtype=np.int64)
    for start in range(0, len(vectors), _CHUNK):
        block = np.ascontiguousarray(vectors[start : start + _CHUNK], dtype=np.float32)
        s, i = faiss.knn(queries, block, min(n, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        scores, nearest = np.hstack([scores, s]), np.hstack([nearest, i + start])
        order = np.argsort(-scores, axis=1)[:, :n]
        scores = np.take_along_axis(scores, order, axis=1)
        nearest = np.take_along_axis(nearest, order, axis=1)
    most = min(lists, max(8, int(lists * MOST_LISTS)))
    probes, recall = 1, 0.0
    while True:
        settings = faiss.SearchParametersIVF(nprobe=min(probes, most))
        _, found = index.search(queries, n, params=settings)
        hits = sum(
            len(set(f) & set(t) - {p})
            for f, t, p in zip(found.tolist(), nearest.tolist(), places.tolist(), strict=True)
        )
        recall = hits / max(1, len(places) * (n - 1))
        if recall >= TARGET_RECALL or probes >= most:
            return min(probes, most), min(1.0, recall)
        probes *= 2
