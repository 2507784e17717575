"""The retriever: for each row, the labelled examples that its prompt shows.

    rows ─ encode ─▶ vectors ─ search ─▶ neighbours ─ strategy ─▶ demonstrations

The neighbours and their vote are ``neighbourhood``'s; here some of them are chosen and ordered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ecomfs.core.progress import Progress, silent
from ecomfs.embed import Embedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve.build import update_index
from ecomfs.retrieve.choose import ChosenSimilarity
from ecomfs.retrieve.index import Hits, VectorIndex, Vectors
from ecomfs.retrieve.neighbourhood import Neighbourhood
from ecomfs.retrieve.strategies import Candidates, SelectionStrategy, open_strategy
from ecomfs.task import FieldSpec
from ecomfs.types import Demonstration, Example, Row

_BATCH = 1024  # queries whose candidates are held at a time


class Retriever(Neighbourhood):
    """Chooses demonstrations from a pool.

    Args:
        examples: the labelled examples.
        texts: each example rendered as text, aligned with ``examples``.
        embedder: fitted here on ``texts``.
        mode: what is compared: ``dense`` (the texts), ``tabular`` (the rows' fields), or
            ``mixed`` (both). The last two need ``fields``, and ``rows`` beside every query.
        strategy: which neighbours become demonstrations: ``balanced`` (labels take turns), or
            another name or object of :mod:`ecomfs.retrieve.strategies`.
        seed: of the strategies' random choices.
        index: ``exact``, ``ivf`` (approximate, FAISS), ``auto`` (exact up to 100,000 examples),
            or an index over ``texts``; :attr:`index` says what it is.
        fields: how the examples' fields are compared (:class:`ecomfs.retrieve.TabularSpace`).
        tabular_weight: of the fields in ``mixed``, 0 to 1.
        choice: how mode and weight were chosen; kept for records.
        progress: told how many examples are embedded.

    Raises:
        PoolError: there are no examples.
        ConfigError: an unknown name, or texts and examples that do not match.

    >>> from ecomfs.embed.hashed import HashedEmbedder
    >>> texts = ["lovely soft shirt", "shirt fell apart", "lovely warm coat", "coat fell apart"]
    >>> pool = [Example(str(i), {"text": t}, "bad" if "fell" in t else "good")
    ...         for i, t in enumerate(texts)]
    >>> retriever = Retriever(pool, texts, HashedEmbedder())
    >>> [d.example.label for d in retriever.retrieve(["a lovely shirt"], k=2)[0]]
    ['bad', 'good']
    >>> retriever.vote(["a lovely shirt"], k=3)[0].argmax() == retriever.labels.index("good")
    np.True_
    """

    def __init__(
        self,
        examples: Sequence[Example],
        texts: Sequence[str],
        embedder: Embedder,
        *,
        mode: str = "dense",
        strategy: str | SelectionStrategy = "balanced",
        seed: int = 0,
        index: str | VectorIndex = "auto",
        fields: Sequence[FieldSpec] = (),
        tabular_weight: float = 0.5,
        choice: ChosenSimilarity | None = None,
        progress: Progress = silent,
    ) -> None:
        self.strategy = open_strategy(strategy)  # first: a wrong name is told before texts are read
        super().__init__(
            examples,
            texts,
            embedder,
            mode=mode,
            index=index,
            fields=fields,
            tabular_weight=tabular_weight,
            progress=progress,
        )
        self._seed = seed
        self.choice = choice
        self._options: dict[str, Any] = {
            "mode": mode,
            "strategy": self.strategy,
            "seed": seed,
            "fields": tuple(fields),
            "tabular_weight": tabular_weight,
        }

    @property
    def options(self) -> dict[str, Any]:
        """How it chooses, by the names of the arguments; with the examples and the embedder's
        fingerprint they decide every choice."""
        return dict(self._options)

    def updated(self, examples: Sequence[Example], texts: Sequence[str]) -> Retriever:
        """A retriever of another version of the pool, with the same options; this one goes on
        working meanwhile. Vectors of texts that stay are reused unless the embedder learns from
        the pool, so that the result is what building it anew would give (up to the
        approximation of a large index)."""
        index: str | VectorIndex = self._kind
        if not self._learns and texts:
            index = update_index(self.index, self.texts, texts, self.embedder, self._kind)
        made = Retriever(examples, texts, self._source, index=index, **self._options)
        made._kind, made.choice = self._kind, self.choice
        return made

    def retrieve(
        self,
        queries: Sequence[str],
        k: int,
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
        labels: Sequence[Collection[str]] | None = None,
    ) -> list[list[Demonstration]]:
        """The demonstrations of each query, in prompt order.

        Args:
            queries: the rows to classify, rendered as text.
            k: demonstrations a query, at least 0; fewer only when the pool holds fewer or the
                strategy wants fewer.
            rows: the queries' fields, which modes ``tabular`` and ``mixed`` compare; a value
                that is not of its field's kind counts as missing.
            exclude_ids: for each query, ids of examples that may not be shown, such as its own
                when the query comes from the pool.
            leave_self_out: also exclude examples that are the query itself: the same letters
                and digits. Needed wherever queries with known answers stand for new ones
                (fitting, evaluation). Not in production: there an example equal to the query is
                the best one to show.
            labels: for each query, the only labels whose examples may be shown.

        Raises:
            ConfigError: ``k`` is negative, or an argument is not aligned with ``queries``.
        """
        if k < 0:
            raise ConfigError(f"k is {k}", hint="use 0 (no demonstrations) or more")
        banned = self._exclusion.positions(
            queries, exclude_ids=exclude_ids, leave_self_out=leave_self_out, labels=labels
        )
        if rows is not None and len(rows) != len(queries):
            raise ConfigError(f"{len(queries)} queries but {len(rows)} rows")
        if labels is None:
            counts = [len(self.labels)] * len(queries)
        else:
            counts = [len(set(self.labels).intersection(allowed)) for allowed in labels]
        if k == 0:
            return [[] for _ in queries]
        result: list[list[Demonstration]] = []
        for start in range(0, len(queries), _BATCH):
            block = slice(start, start + _BATCH)
            vectors = self.embed(queries[block], None if rows is None else rows[block])
            result += self.choose(queries[block], vectors, k, banned[block], counts[block])
        return result

    def choose(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        k: int,
        excluded: Sequence[Collection[int]],
        label_counts: Sequence[int] | None = None,
    ) -> list[list[Demonstration]]:
        """What :meth:`retrieve` does once queries are vectors and exclusions are positions.

        Args:
            label_counts: for each query, how many labels may be shown; ``None`` for all.
        """
        if label_counts is None:
            label_counts = [len(self.labels)] * len(queries)
        # The widest reach that any query needs: a query may be held to a few of the labels.
        reach = self.strategy.reach(k, min(label_counts, default=len(self.labels)))
        found = self.search(queries, vectors, reach, excluded)
        result = []
        for query, vector, hits, banned, count in zip(
            queries, vectors, found, excluded, label_counts, strict=True
        ):
            candidates = Candidates(
                query=query,
                positions=hits.positions,
                similarities=hits.similarities,
                label_count=count,
                excluded=banned,
                pool=self.pool,
            )
            chosen = self.strategy.select(candidates, k, self._seed)
            ranked = self._demonstrations(chosen, hits, vector)
            # Models weigh what they read last most: the most similar stands nearest the query.
            result.append(ranked[::-1])
        return result

    def _demonstrations(
        self, chosen: Sequence[int], hits: Hits, vector: Vectors
    ) -> list[Demonstration]:
        """Most relevant first: neighbours as they were ranked, then others by similarity."""
        known = dict(zip(hits.positions.tolist(), hits.similarities.tolist(), strict=True))
        wanted = set(chosen)
        positions = [p for p in known if p in wanted]
        similarities = [known[p] for p in positions]
        if len(positions) < len(wanted):
            others = np.array([p for p in chosen if p not in known], dtype=np.int64)
            rest = self.index.rank(vector, others)
            positions += rest.positions.tolist()
            similarities += rest.similarities.tolist()
        return [
            Demonstration(self.examples[p], self.texts[p], s)
            for p, s in zip(positions, similarities, strict=True)
        ]
