"""Prefix sharing: demonstrations that many prompts have in common, which a server computes once.

    none      every row has its own demonstrations
    mixed     a block shared by similar rows, then a few of the row's own
    cluster   only the block shared by similar rows
    global    one block for all rows

Blocks are chosen once for the centre of each cluster; a row belongs to the nearest centre. Rows of
a cluster are sent one after another, so that a small cache is enough.

:func:`simulate_prefix_cache` counts what a server would save, without a server.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Vectors, unit_rows
from ecomfs.errors import ConfigError
from ecomfs.retrieve.index import Excluded, VectorRows
from ecomfs.retrieve.queries import Queries
from ecomfs.retrieve.retriever import Retriever
from ecomfs.types import Demonstration

Sharing = Literal["none", "mixed", "cluster", "global"]

_SAMPLE = 4096  # vectors that are clustered
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Demonstrations of many rows: those that rows share, and each row's own.

    Attributes:
        shared: for each row, the block of its cluster, which begins the prompt.
        own: for each row, its own demonstrations: follow the block, least to most similar.
        clusters: number of each row's cluster, shape (rows,).
        order: the rows in the order in which to send them: equal beginnings together.
    """

    shared: list[tuple[Demonstration, ...]]
    own: list[tuple[Demonstration, ...]]
    clusters: NDArray[np.int64]
    order: list[int]

    def demonstrations(self, row: int) -> tuple[Demonstration, ...]:
        """All of a row's demonstrations in prompt order."""
        return self.shared[row] + self.own[row]


class PrefixSharing:
    """Blocks of demonstrations that similar rows share.

    Parameters
    ----------
    retriever
        Chooses blocks and own demonstrations with its strategy.
    k
        Demonstrations per prompt.
    mode
        ``none``, ``mixed``, ``cluster`` or ``global``.
    own
        How many of the k are the row's own in ``mixed``.
    clusters
        How many blocks; ``None`` for one per 16 examples of the pool, from 1 to 64.
    seed
        Of the clustering.

    Raises
    ------
    ConfigError
        An unknown mode, or numbers that do not fit together.

    Examples
    --------
    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.types import Example
    >>> texts = ["red shoe", "blue shoe", "warm coat", "soft coat"]
    >>> pool = [Example(str(i), {"text": t}, "ab"[i % 2]) for i, t in enumerate(texts)]
    >>> retriever = Retriever(pool, texts, HashedEmbedder(256))
    >>> queries = retriever.queries(["green shoe"])
    >>> arranged = PrefixSharing(retriever, 3, "mixed", own=1).arrange(queries)
    >>> len(arranged.shared[0]), len(arranged.own[0]), len(arranged.demonstrations(0))
    (2, 1, 3)
    """

    def __init__(
        self,
        retriever: Retriever,
        k: int,
        mode: str = "mixed",
        *,
        own: int = 2,
        clusters: int | None = None,
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
        self.centres = _centres(retriever.pool.vectors, wanted, seed)
        self.blocks = tuple(self._block(centre) for centre in self.centres)

    def arrange(self, queries: Queries) -> Arrangement:
        """The demonstrations of each row, looked up by
        :meth:`ecomfs.retrieve.Retriever.queries` of the same retriever.

        An excluded example is removed from that row's block, and the row gets one more of its
        own; its prompt then no longer shares the prefix.
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


def _centres(vectors: VectorRows, count: int, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    places = np.arange(len(vectors))
    if len(places) > _SAMPLE:
        places = np.sort(rng.choice(places, _SAMPLE, replace=False))
    data = vectors[places].astype(np.float64)
    # At most as many centres as different vectors: k-means++ would divide by zero.
    count = min(count, len({row.tobytes() for row in data}))
    if count == 1:
        centres = data.mean(axis=0, keepdims=True)
    else:
        from scipy.cluster.vq import kmeans2  # slow to import, seldom needed

        with warnings.catch_warnings():
            # Empty clusters are dropped below.
            warnings.filterwarnings("ignore", "One of the clusters is empty")
            centres, joined = kmeans2(data, count, iter=_ROUNDS, minit="++", rng=rng)
        centres = centres[np.unique(joined)]
    return unit_rows(centres)


@dataclass(frozen=True, slots=True)
class PrefixCacheReport:
    """What a prefix cache saves.

    Attributes:
        tokens: of all prompts.
        cached_tokens: of these, how many were found in the cache.
    """

    tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        """Cached tokens over tokens, as the server counts it; ``None`` without any token."""
        return self.cached_tokens / self.tokens if self.tokens else None


def simulate_prefix_cache(
    prompts: Iterable[Sequence[int]], *, block_size: int = 16
) -> PrefixCacheReport:
    """What the prefix cache of a vLLM server saves on prompts sent one after another.

    vLLM keeps the keys and values of whole blocks of tokens and finds a block by everything
    before it: only equal beginnings count, in steps of the block size, and the last token is
    always computed. The cache is empty at first and never full.

    Parameters
    ----------
    prompts
        Token ids, in the order in which they are sent.
    block_size
        Tokens per block: 16 on GPUs, 128 in vLLM's CPU build.

    Raises
    ------
    ConfigError
        A block size below 1.

    Examples
    --------
    >>> shared = list(range(64))
    >>> simulate_prefix_cache([shared + [100 + i] * 16 for i in range(4)]).cached_tokens
    192
    """
    if block_size < 1:
        raise ConfigError(f"block size is {block_size}", hint="use 1 or more")
    # The key of a block is the number of the block before it and its own tokens, so that a block's
    # number identifies the whole beginning of a prompt.
    blocks: dict[tuple[int, tuple[int, ...]], int] = {}
    tokens = cached = 0
    for prompt in prompts:
        tokens += len(prompt)
        before, hits, hit = 0, 0, True
        for start in range(0, len(prompt) - block_size + 1, block_size):
            key = (before, tuple(prompt[start : start + block_size]))
            hit = hit and key in blocks
            hits += hit
            before = blocks.setdefault(key, len(blocks) + 1)
        cached += min(hits, max(0, len(prompt) - 1) // block_size) * block_size
    return PrefixCacheReport(tokens, cached)
