"""Prefix sharing: demonstrations that many prompts have in common, so a server computes them once.

    none      every row has its own demonstrations
    mixed     a block shared by similar rows, then a few of the row's own
    cluster   only the block shared by similar rows
    global    one block for all rows

Blocks are chosen once for the centre of each cluster; a row joins the nearest centre. Rows of a
cluster are put next to each other, so that a small cache is enough.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import unit_rows
from ecomfs.errors import ConfigError
from ecomfs.retrieve.excluded import Excluded
from ecomfs.retrieve.index import Rows, Vectors
from ecomfs.retrieve.queries import Queries
from ecomfs.retrieve.retriever import Retriever
from ecomfs.types import Demonstration, Row

Sharing = Literal["none", "mixed", "cluster", "global"]

_SAMPLE = 4096  # vectors that the clustering looks at
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Demonstrations of many rows, split by who shares them.

    Attributes:
        shared: for each row, the block of its cluster: goes into the fixed prefix.
        own: for each row, its own demonstrations: follow the block, least to most similar.
        clusters: number of each row's cluster, shape (rows,).
        order: the rows in the order in which they are best sent: equal beginnings together.
    """

    shared: list[tuple[Demonstration, ...]]
    own: list[tuple[Demonstration, ...]]
    clusters: NDArray[np.int64]
    order: list[int]

    def demonstrations(self, row: int) -> tuple[Demonstration, ...]:
        """All of a row's demonstrations in prompt order."""
        return self.shared[row] + self.own[row]


class PrefixSharing:
    """Shared blocks of a pool.

    Args:
        retriever: chooses blocks and own demonstrations, by its own strategy and order.
        k: demonstrations a prompt.
        mode: see above.
        own: of these, how many are the row's own in ``mixed``.
        clusters: how many blocks; ``None`` for one per 16 rows of the pool, from 1 to 64.
        sample: texts like those to come, of which the clusters are made; ``None`` takes the
            pool's own texts, which needs no look ahead.
        sample_rows: their fields, where the retriever compares fields.
        seed: of the clustering.

    Raises:
        ConfigError: an unknown mode, or numbers that do not fit together.
    """

    def __init__(
        self,
        retriever: Retriever,
        k: int,
        mode: str = "mixed",
        *,
        own: int = 2,
        clusters: int | None = None,
        sample: Sequence[str] | None = None,
        sample_rows: Sequence[Row] | None = None,
        seed: int = 0,
    ) -> None:
        if mode not in get_args(Sharing):
            raise ConfigError(
                f"no sharing mode {mode!r}", hint=f"choose {', '.join(get_args(Sharing))}"
            )
        if k < 0 or own < 0 or (clusters is not None and clusters < 1):
            raise ConfigError(f"k = {k}, own = {own}, clusters = {clusters} do not fit together")
        self.mode = mode
        self.k = k
        self._retriever = retriever
        self._block_size = {"none": 0, "mixed": max(0, k - own)}.get(mode, k)
        wanted = clusters or min(64, max(1, len(retriever) // 16))
        if mode in ("none", "global"):
            wanted = 1
        seen: Rows = retriever.pool.vectors
        if sample:
            seen = retriever.embed(sample, sample_rows)
        self.centres = _centres(seen, wanted, seed)
        self.blocks = tuple(self._block(centre) for centre in self.centres)

    def arrange(self, queries: Queries) -> Arrangement:
        """The demonstrations of each row, looked up by
        :meth:`ecomfs.retrieve.Retriever.queries` of the same retriever.

        An excluded example is taken out of that row's block, and the row gets one more of its
        own: correct, at the price of a prefix that it shares no longer.
        """
        vectors, excluded = queries.vectors, queries.excluded
        clusters = np.asarray((vectors @ self.centres.T).argmax(axis=1), dtype=np.int64)
        shared: list[tuple[Demonstration, ...]] = []
        for cluster, banned in zip(clusters, excluded, strict=True):
            block = self.blocks[cluster]
            ids = {self._retriever.pool.ids[p] for p in banned} if banned else set()
            shared.append(tuple(d for d in block if d.example.id not in ids))
        own = self._own(queries.texts, vectors, shared, excluded)
        order = sorted(
            range(len(queries)),
            key=lambda r: (int(clusters[r]), [d.example.id for d in shared[r] + own[r]], r),
        )
        return Arrangement(shared, own, clusters, order)

    def _own(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        shared: Sequence[tuple[Demonstration, ...]],
        excluded: Sequence[Excluded],
    ) -> list[tuple[Demonstration, ...]]:
        own: list[tuple[Demonstration, ...]] = [() for _ in queries]
        rows_by_places: dict[int, list[int]] = {}
        for row, block in enumerate(shared):
            rows_by_places.setdefault(self.k - len(block), []).append(row)
        for places, rows in rows_by_places.items():
            if places <= 0:
                continue
            taken = [
                excluded[r] | self._retriever.pool.find([d.example.id for d in shared[r]])
                for r in rows
            ]
            chosen = self._retriever.choose(
                [queries[r] for r in rows], vectors[rows], places, taken
            )
            for row, demonstrations in zip(rows, chosen, strict=True):
                own[row] = tuple(demonstrations)
        return own

    def _block(self, centre: Vectors) -> tuple[Demonstration, ...]:
        if not self._block_size:
            return ()
        # A centre has no text: it is found by its vector alone, whatever the retriever's mode.
        chosen = self._retriever.choose([""], centre[None], self._block_size, [Excluded()])[0]
        return tuple(replace(d, similarity=math.nan) for d in chosen)


def _centres(vectors: Rows, count: int, seed: int) -> Vectors:
    lots = np.random.default_rng(seed)
    places = np.arange(len(vectors))
    if len(places) > _SAMPLE:
        places = np.sort(lots.choice(places, _SAMPLE, replace=False))
    data = vectors[places].astype(np.float64)
    # More centres than different vectors cannot be: k-means++ would divide by nothing.
    count = min(count, len({row.tobytes() for row in data}))
    if count == 1:
        centres = data.mean(axis=0, keepdims=True)
    else:
        from scipy.cluster.vq import kmeans2  # a quarter of a second to import, seldom needed

        with warnings.catch_warnings():
            # A cluster that runs empty is dropped below: nobody has to hear of it.
            warnings.filterwarnings("ignore", "One of the clusters is empty")
            centres, joined = kmeans2(data, count, iter=_ROUNDS, minit="++", rng=lots)
        centres = centres[np.unique(joined)]
    return unit_rows(centres)
