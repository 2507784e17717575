"""Approximate nearest neighbours for large pools: an inverted file of float16 vectors (FAISS).

Vectors are grouped around centres; a query looks into the lists of the nearest centres only. How
many lists are probed is chosen by measurement when the index is built: the fewest with which the
ten nearest of a sample of examples are found again, and never more than a quarter. The recall that
was measured is part of the description.

The vectors stand once, as float16, inside FAISS's lists. Examples that came after the index was
built wait in a tail that is searched exactly; examples that went are skipped. The index is
built anew when a fifth has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError, PoolError
from ecomfs.retrieve.excluded import Excluded
from ecomfs.retrieve.index import Groups, Hits, Rows, Vectors, exact_similarities, top
from ecomfs.retrieve.ivf_rows import Placement, StoredRows
from ecomfs.retrieve.ivf_tune import CHUNK, tune
from ecomfs.retrieve.second_look import ranked

MOST_CHANGED = 0.2
_TRAINING = 64  # vectors a centre
_SPARE = 16  # candidates beyond what is wanted, re-ranked exactly
_FEW = 256  # excluded positions that are cheaper to fetch and drop than to tell FAISS
_DEEP = 256  # neighbours fetched where some of each group are wanted, or only of some groups:
# probed for ten, an index finds 98 % of the nearest 256, and of 1,000 in small clusters half
_SMALL_GROUP = 512  # members that are compared one by one sooner than looked for in the lists
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
    """An inverted-file index; made by :meth:`build` or :meth:`open`.

    Attributes:
        probes: lists that a query looks into.
        recall: measured share of the ten nearest that are found, examples as queries.
    """

    def __init__(
        self,
        lists: Any,
        probes: int,
        recall: float,
        *,
        rows: NDArray[np.int64] | None = None,
        tail: Vectors | None = None,
    ) -> None:
        self._faiss = _faiss()
        self._lists = lists
        self.probes = probes
        self.recall = recall
        self._base = int(lists.ntotal)
        self._tail = np.empty((0, lists.d), dtype=np.float32) if tail is None else tail
        self._placed = Placement(self._base, len(self._tail), rows)
        self._tail_positions = self._placed.tail_positions
        alive = self._placed.alive()
        self._alive = None if alive is None else self._selector(alive)
        self._group_selectors: dict[int, Any] = {}
        self._selectors_of: Groups | None = None
        self.vectors: Rows = StoredRows(lists, self._placed, self._tail)

    @classmethod
    def build(cls, vectors: NDArray[Any], *, lists: int | None = None, seed: int = 0) -> IVFIndex:
        """Build from unit rows, shape (size, dimensions), float16 or float32.

        Args:
            lists: how many; ``None`` for twice the square root of the size.
            seed: of the clustering.
        """
        faiss = _faiss()
        size, dimensions = vectors.shape
        count = max(1, min(size // 40, lists or int(2 * size**0.5)))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimensions),
            dimensions,
            count,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,  # whole vectors, not differences to the centre: they can be read back exactly
        )
        index.cp.seed = seed + 1
        index.cp.niter = 8
        lots = np.random.default_rng(seed)
        sample = np.sort(lots.choice(size, min(size, _TRAINING * count), replace=False))
        index.train(np.ascontiguousarray(vectors[sample], dtype=np.float32))
        for start in range(0, size, CHUNK):
            index.add(np.ascontiguousarray(vectors[start : start + CHUNK], dtype=np.float32))
        probes, recall = tune(faiss, index, vectors, count, lots)
        index.set_direct_map_type(faiss.DirectMap.Array)
        return cls(index, probes, recall)

    @classmethod
    def open(cls, path: Path, probes: int, recall: float) -> IVFIndex:
        """Memory-map an index that :meth:`save` wrote.

        Raises:
            PoolError: the file is not one.
        """
        faiss = _faiss()
        try:
            lists = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            raise PoolError(f"{path}: not an index", hint="delete it; it is built again") from error
        lists.set_direct_map_type(faiss.DirectMap.Array)
        return cls(lists, probes, recall)

    def save(self, path: Path) -> None:
        """Write the lists (not the tail: see :attr:`changed`)."""
        self._lists.set_direct_map_type(self._faiss.DirectMap.NoMap)
        self._faiss.write_index(self._lists, str(path))
        self._lists.set_direct_map_type(self._faiss.DirectMap.Array)

    @property
    def description(self) -> str:
        """What it is, for reports."""
        return (
            f"IVF, {len(self):,} vectors in {self._lists.nlist:,} lists, {self.probes} probed,"
            f" recall@10 {self.recall:.3f}"
        )

    @property
    def exact(self) -> bool:
        """As for :class:`ecomfs.retrieve.index.DenseIndex`."""
        return False

    @property
    def changed(self) -> float:
        """The part of the built index that came or went since, from 0."""
        return (self._placed.gone + len(self._tail)) / max(1, self._base)

    def __len__(self) -> int:
        return len(self._placed)

    def updated(self, positions: NDArray[np.int64], new: Vectors) -> IVFIndex:
        """The index of another version of the pool.

        Args:
            positions: for each example, where it is in this index, or -1 for the next of ``new``.
            new: vectors of the examples that are not in this index.
        """
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
        for start in range(0, len(rows), CHUNK):
            block = np.arange(start, min(start + CHUNK, len(rows)))
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
        """As :meth:`ecomfs.retrieve.index.DenseIndex.search`, approximately; the similarities
        of what is found are exact."""
        banned = [Excluded.of(e) for e in excluded] if excluded else [_NOTHING for _ in queries]
        grouped = groups if per_group else None
        deep = grouped is not None or any(b.whole_groups for b in banned)
        few = max((len(b.single) for b in banned if len(b.single) <= _FEW), default=0)
        wide = max(n, per_group, _DEEP if deep else 0) + few + _SPARE
        result = []
        for query, near, b in zip(queries, self._nearest(queries, wide), banned, strict=True):
            if b:
                near = self._without(query, near, n, b)
            if grouped is None:
                hits = self.rank(query, near.positions[: n + _SPARE])
                result.append(Hits(hits.positions[:n], hits.similarities[:n]))
                continue
            have = grouped.group_of[near.positions]
            wanted = range(len(grouped.members)) if far_groups else np.unique(have[:n])
            lacking = np.bincount(have, minlength=len(grouped.members)) < np.minimum(
                per_group, b.left(grouped)
            )
            more = [near.positions[top(have, n + _SPARE, per_group + _SPARE, wanted)]]
            for group in wanted:
                if lacking[group]:
                    more.append(self._of_group(query, per_group, b, grouped, int(group)))
            hits = self.rank(query, np.unique(np.concatenate(more)))
            keep = top(grouped.group_of[hits.positions], n, per_group, wanted)
            result.append(Hits(hits.positions[keep], hits.similarities[keep]))
        return result

    def near(self, queries: Vectors, threshold: float) -> list[NDArray[np.int64]]:
        """For each query, the positions found whose similarity is at least ``threshold``; of
        more than a thousand, the nearest thousand."""
        found = self.search(queries, 1000)
        return [np.sort(h.positions[h.similarities >= threshold]) for h in found]

    def rank(self, query: Vectors, positions: NDArray[np.int64]) -> Hits:
        """Some positions by their exact similarity to one query, shape (dimensions,)."""
        return ranked(positions, self.similarities(query, positions))

    def similarities(self, query: Vectors, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of some positions to one query, shape (dimensions,): exact."""
        return exact_similarities(self.vectors[positions], query[None])

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
        """What is left of the nearest; looked for anew where too little is."""
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
    ) -> NDArray[np.int64]:
        """Where to find the nearest of a group that are not excluded."""
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
        """Probe more lists until enough of the selected are found and more lists change nothing:
        what is left after a selection may live anywhere."""
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
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Scores and rows of the nearest, best first; where fewer are found, -1 for a row."""
        settings = self._faiss.SearchParametersIVF(
            nprobe=min(probes, self._lists.nlist), **({} if selector is None else {"sel": selector})
        )
        n = min(n, self._base)
        scores, rows = self._lists.search(np.ascontiguousarray(queries), n, params=settings)
        return scores, np.asarray(rows, dtype=np.int64)

    def _hits(self, scores: Vectors, rows: NDArray[np.int64]) -> Hits:
        found = rows >= 0
        return Hits(self._placed.positions(rows[found]), scores[found].astype(np.float64))

    def _selector(self, mask: NDArray[np.bool_]) -> Any:
        return self._faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def _both(near: Hits, late: Hits, n: int) -> Hits:
    """The ``n`` nearest of two parts of the index, best first."""
    if not len(late.positions):
        return near
    positions = np.concatenate([near.positions, late.positions])
    scores = np.concatenate([near.similarities, late.similarities])
    best = np.argsort(-scores, kind="stable")[:n]
    return Hits(positions[best], scores[best])
