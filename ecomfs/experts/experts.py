"""The cheap experts: what the labelled examples say of a row without a language model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Embedder, HashedEmbedder
from ecomfs.experts.probe import LinearProbe
from ecomfs.io import same_text
from ecomfs.retrieve import Hits, Retriever, kernel_vote
from ecomfs.types import Row

NEIGHBOURS = 8
PROBE_EXAMPLES = 20_000
"""The probe is solved on at most this many examples, spread evenly over the pool."""

OWN_EXAMPLES = 1_000
"""Weights and thresholds of the experts are fitted on at most this many examples: each is a query
that has to be embedded."""

SPELLED_WEIGHT = 0.5
"""Of the spelling beside the retriever's vectors; the best of a few on six development sets."""

SPELLED_EXAMPLES = 1_000
"""Up to this many examples the probe also sees how the texts are spelt."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the cheap experts say of one row.

    Attributes:
        vote: probabilities of the neighbours' vote, aligned with the label space.
        probe: scores of the linear probe, aligned with the label space.
        similarity: of the nearest example, in the retriever's measure.
    """

    vote: tuple[float, ...]
    probe: tuple[float, ...]
    similarity: float


class Experts:
    """The neighbours' vote and the linear probe of one pool.

    Args:
        retriever: searches the pool.
        labels: the label space; labels without an example get nothing from either expert.

    >>> from ecomfs.embed.hashed import HashedEmbedder
    >>> from ecomfs.types import Example
    >>> texts = ["lovely soft shirt", "shirt fell apart", "lovely warm coat", "coat fell apart"]
    >>> pool = [Example(str(i), {"text": t}, "bad" if "fell" in t else "good")
    ...         for i, t in enumerate(texts)]
    >>> experts = Experts(Retriever(pool, texts, HashedEmbedder()), ["good", "bad"])
    >>> opinion = experts.opinions(["a lovely shirt"])[0]
    >>> opinion.vote[0] > opinion.vote[1], opinion.probe[0] > opinion.probe[1]
    (True, True)
    """

    def __init__(self, retriever: Retriever, labels: Sequence[str]) -> None:
        self.retriever = retriever
        self.labels = tuple(labels)
        places = {label: place for place, label in enumerate(self.labels)}
        self._columns = np.array([places[label] for label in retriever.labels], dtype=np.int64)

    def opinions(
        self,
        queries: Sequence[str],
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[Opinion]:
        """One opinion a query. Arguments as in :meth:`Retriever.retrieve`.

        With ``leave_self_out``, a query that is an example of the pool (told by its excluded id
        and its text) gets the probe's leave-one-out score.
        """
        if not queries:
            return []
        vote, hits = self._votes(queries, rows, exclude_ids, leave_self_out)
        probe = self.probe.scores(self._features(queries, self.retriever.embed(queries, rows)))
        if leave_self_out and exclude_ids is not None:
            for row, (query, ids) in enumerate(zip(queries, exclude_ids, strict=True)):
                for place in (self._probed[i] for i in ids if i in self._probed):
                    if same_text(query) == same_text(self.retriever.texts[self._sample[place]]):
                        probe[row] = self.probe.own[place]
        return [
            Opinion(
                tuple(v.tolist()),
                tuple(p.tolist()),
                float(h.similarities[0]) if len(h.similarities) else float("nan"),
            )
            for v, p, h in zip(vote, probe, hits, strict=True)
        ]

    def own(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Leave-one-out opinions of the pool's own examples (at most :data:`OWN_EXAMPLES` of those
        the probe was solved on, spread evenly; synthetic ones say nothing of new rows), at the
        cost of no model call: votes, probe scores, both of shape (n, labels), and the positions
        of their labels."""
        real = [not self.retriever.examples[p].synthetic for p in self._sample]
        rank = np.flatnonzero(real)
        rank = rank[:: max(1, -(-len(rank) // OWN_EXAMPLES))]
        places = self._sample[rank]
        texts = [self.retriever.texts[p] for p in places]
        rows = [self.retriever.examples[p].fields for p in places]
        ids = [{self.retriever.examples[p].id} for p in places]
        vote, _ = self._votes(texts, rows, ids, True)
        return vote, self.probe.own[rank], self._columns[self.retriever.pool.labels[places]]

    @cached_property
    def probe(self) -> LinearProbe:
        """The probe, solved when first needed."""
        pool = self.retriever.pool
        texts = [self.retriever.texts[p] for p in self._sample]
        return LinearProbe.fit(
            self._features(texts, self.retriever.index.vectors[self._sample]),
            self._columns[pool.labels[self._sample]],
            len(self.labels),
            self._families(),
        )

    def _features(self, texts: Sequence[str], vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """What the probe looks at: the retriever's vectors and, for a small pool, how the texts
        are spelt, each on the scale of the pool. An embedder of meaning does not tell model
        numbers and brands apart; titles of products are sorted by them."""
        meant = np.asarray(vectors, dtype=np.float64)
        if self._spelling is None:
            return meant
        spelt = self._spelling.embed(texts, query=True)
        return np.hstack([meant / self._scales[0], SPELLED_WEIGHT * spelt / self._scales[1]])

    @cached_property
    def _spelling(self) -> Embedder | None:
        if len(self.retriever) > SPELLED_EXAMPLES:
            return None
        if isinstance(self.retriever.embedder, HashedEmbedder) and self.retriever.mode == "dense":
            return None  # the vectors are the spelling
        return HashedEmbedder().fit([self.retriever.texts[p] for p in self._sample])

    @cached_property
    def _scales(self) -> tuple[float, float]:
        """Root mean squared length of the pool's centred vectors, of meaning and of spelling."""
        texts = [self.retriever.texts[p] for p in self._sample]
        both = [np.asarray(self.retriever.index.vectors[self._sample], dtype=np.float64)]
        if self._spelling is not None:
            both.append(np.asarray(self._spelling.embed(texts, query=True), dtype=np.float64))
        found = [float(np.sqrt(((v - v.mean(axis=0)) ** 2).sum(axis=1).mean())) for v in both]
        return found[0] or 1.0, found[-1] or 1.0

    def _families(self) -> list[int]:
        """One number an example; copies, and rewrites with their source, have the same."""
        first: dict[str, int] = {}
        parent: dict[int, int] = {}
        for p in self._sample.tolist():
            example = self.retriever.examples[p]
            names = (
                f"text {same_text(self.retriever.texts[p])}",
                f"id {example.id}",
                f"id {example.source_id or example.id}",
            )
            roots = {_root(parent, first.setdefault(name, p)) for name in names} | {p}
            for root in roots:
                parent[root] = min(roots)
        return [_root(parent, p) for p in self._sample.tolist()]

    @cached_property
    def _sample(self) -> NDArray[np.int64]:
        step = -(-len(self.retriever) // PROBE_EXAMPLES)
        return np.arange(0, len(self.retriever), step)

    @cached_property
    def _probed(self) -> dict[str, int]:
        """Where the examples that the probe was solved on stand in its own scores."""
        return {self.retriever.examples[p].id: place for place, p in enumerate(self._sample)}

    def _votes(
        self,
        queries: Sequence[str],
        rows: Sequence[Row] | None,
        exclude_ids: Sequence[Collection[str]] | None,
        leave_self_out: bool,
    ) -> tuple[NDArray[np.float64], Sequence[Hits]]:
        hits = self.retriever.neighbours(
            queries, NEIGHBOURS, rows=rows, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        heat = self.retriever.similarity_scale
        labels = self.retriever.pool.labels
        votes = [
            kernel_vote(h.similarities, self._columns[labels[h.positions]], len(self.labels), heat)
            for h in hits
        ]
        return np.array(votes).reshape(len(queries), len(self.labels)), hits


def _root(parent: dict[int, int], place: int) -> int:
    while parent.get(place, place) != place:
        place = parent[place]
    return place


__all__ = ["Experts", "Opinion"]
