"""The labelled examples most like a row, and their own vote: the baseline that every language
model has to beat.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecomfs.core.progress import Progress, silent
from ecomfs.embed import Embedder
from ecomfs.errors import ConfigError, PoolError
from ecomfs.retrieve.build import build_index, embed_index
from ecomfs.retrieve.encode import TextEncoder, open_encoder, sample_places, spread
from ecomfs.retrieve.exclusion import Exclusion
from ecomfs.retrieve.index import Excluded, Hits, VectorIndex, Vectors
from ecomfs.retrieve.strategies import PoolView, Reach
from ecomfs.retrieve.vote import kernel_vote
from ecomfs.task import FieldSpec
from ecomfs.types import Example, Row


class Neighbourhood:
    """A pool in which neighbours are found; arguments as for
    :class:`ecomfs.retrieve.Retriever`, which builds on it."""

    def __init__(
        self,
        examples: Sequence[Example],
        texts: Sequence[str],
        embedder: Embedder,
        *,
        mode: str,
        index: str | VectorIndex,
        fields: Sequence[FieldSpec],
        tabular_weight: float,
        progress: Progress = silent,
    ) -> None:
        if not examples:
            raise PoolError("the pool is empty", hint="add labelled examples")
        if len(examples) != len(texts):
            raise ConfigError(f"{len(examples)} examples but {len(texts)} texts")
        self.examples = tuple(examples)
        self.texts = tuple(texts)
        self.labels: tuple[str, ...] = tuple(dict.fromkeys(e.label for e in self.examples))
        """The pool's labels in order of first appearance: the columns of :meth:`vote`."""
        self.mode = mode
        self._source = embedder
        self.embedder = embedder.fit(self.texts)
        self._encoder = open_encoder(
            mode, self.embedder, self.examples, self.texts, fields, tabular_weight
        )
        self.compares_fields = not isinstance(self._encoder, TextEncoder)
        """Whether queries need ``rows`` beside their texts."""
        self._learns = self.embedder is not embedder or self.compares_fields
        self._kind = index if isinstance(index, str) else "auto"
        self.index = self._open(progress) if isinstance(index, str) else index
        numbers = {label: number for number, label in enumerate(self.labels)}
        self.pool = PoolView(
            [e.id for e in self.examples],
            np.array([numbers[e.label] for e in self.examples], dtype=np.int64),
            self.index.vectors,
        )
        self._exclusion = Exclusion(
            self.pool,
            self.labels,
            self.texts,
            [e.source_id for e in self.examples],
        )

    def _open(self, progress: Progress) -> VectorIndex:
        if not self.compares_fields:
            return embed_index(self.texts, self.embedder, self._kind, progress)
        rows = [e.fields for e in self.examples]
        return build_index(self._encoder.embed(self.texts, rows, query=False), self._kind)

    def __len__(self) -> int:
        return len(self.examples)

    def embed(self, queries: Sequence[str], rows: Sequence[Row] | None = None) -> Vectors:
        """Queries as the vectors that :attr:`index` is searched with."""
        return self._encoder.embed(queries, rows, query=True)

    def search(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        reach: Reach,
        excluded: Sequence[Collection[int]],
    ) -> Sequence[Hits]:
        """The neighbours that ``reach`` asks for, for queries that are vectors already."""
        if not reach.nearest and not reach.per_label:
            nothing = Hits(np.empty(0, dtype=np.int64), np.empty(0))
            return [nothing for _ in queries]
        return self.index.search(
            vectors,
            reach.nearest,
            excluded=excluded,
            groups=self.pool.groups,
            per_group=reach.per_label,
            far_groups=reach.far_labels,
        )

    def excluded(
        self,
        queries: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[Excluded]:
        """For each query, the positions that may not be shown."""
        return self._exclusion.positions(
            queries, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )

    def neighbours(
        self,
        queries: Sequence[str],
        n: int,
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> Sequence[Hits]:
        """The ``n`` nearest examples of each query, most relevant first: positions in
        :attr:`examples` and cosines. Arguments as in
        :meth:`ecomfs.retrieve.Retriever.retrieve`."""
        if n < 1:
            raise ConfigError(f"{n} neighbours were asked for", hint="use 1 or more")
        vectors = self.embed(queries, rows)
        banned = self.excluded(queries, exclude_ids=exclude_ids, leave_self_out=leave_self_out)
        return self.search(queries, vectors, Reach(n), banned)

    def vote(
        self,
        queries: Sequence[str],
        k: int = 8,
        *,
        temperature: float | None = None,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> NDArray[np.float64]:
        """The neighbours' own answer: probabilities of shape (queries, labels), columns as in
        :attr:`labels`. See :func:`ecomfs.retrieve.vote.kernel_vote` for the formula.

        Args:
            temperature: in units of similarity, above 0; ``None`` takes the pool's own scale
                (:attr:`similarity_scale`), which with k = 8 was within a point of the best of
                twelve settings over six development sets, for both shipped embedders.
        """
        heat = self.similarity_scale if temperature is None else temperature
        if not heat > 0:
            raise ConfigError(f"temperature is {heat}", hint="it must be above 0")
        hits = self.neighbours(
            queries, k, rows=rows, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        votes = [
            kernel_vote(h.similarities, self.pool.labels[h.positions], len(self.labels), heat)
            for h in hits
        ]
        return np.array(votes, dtype=np.float64).reshape(len(queries), len(self.labels))

    @cached_property
    def similarity_scale(self) -> float:
        """Standard deviation of the similarity between two different examples of the pool (of
        at most 512, spread evenly): what counts as a difference for this embedder and mode."""
        places = np.array(sample_places(len(self)))
        queries = self.embed(
            [self.texts[p] for p in places], [self.examples[p].fields for p in places]
        )
        return spread(queries, self.index.vectors[places])
