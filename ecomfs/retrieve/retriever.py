"""The retriever: finds the demonstrations for each row.

    rows ─ embed ─▶ vectors ─ search ─▶ neighbours ─ strategy ─▶ demonstrations

The vote of the neighbours is also an answer without a language model, and a baseline for models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.core.progress import Progress, silent
from ecomfs.embed import Embedder, Vectors
from ecomfs.errors import ConfigError, PoolError
from ecomfs.io import same_text
from ecomfs.retrieve.build import build_index, embed_index, update_index
from ecomfs.retrieve.index import Excluded, Hits, VectorIndex, kernel_vote, top
from ecomfs.retrieve.strategies import (
    Candidates,
    PoolView,
    Reach,
    SelectionStrategy,
    open_strategy,
)
from ecomfs.retrieve.tabular import open_encoder, sample_places, spread
from ecomfs.task import FieldSpec
from ecomfs.types import Demonstration, Example, Row

if TYPE_CHECKING:
    from ecomfs.retrieve.choose import ChosenSimilarity


class DuplicateFinder:
    """Finds the texts that equal a query after normalisation.

    Texts are compared by :func:`ecomfs.io.same_text`, which does not change when a text is posted
    or exported again.

    Examples
    --------
    >>> DuplicateFinder(["Good!", "bad", "good"]).find("GOOD")
    (0, 2)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        for position, text in enumerate(texts):
            places[same_text(text)].append(position)
        self._places = {key: tuple(at) for key, at in places.items()}

    def find(self, query: str) -> tuple[int, ...]:
        """Positions, ascending."""
        return self._places.get(same_text(query), ())


class Exclusion:
    """Converts ids, texts and labels to excluded positions of the pool.

    Parameters
    ----------
    pool
        The pool.
    labels
        Its labels, by number.
    texts
        The texts of the examples, by position.
    sources
        For each example the id of its source, or "". An example that is excluded by its id or text
        also excludes its source and all examples made from it: a rewrite reveals the label of its
        source.
    """

    def __init__(
        self,
        pool: PoolView,
        labels: Sequence[str],
        texts: Sequence[str],
        sources: Sequence[str] = (),
    ) -> None:
        self._pool = pool
        self._numbers = {label: number for number, label in enumerate(labels)}
        self._duplicates = DuplicateFinder(texts)
        self._origins: list[str] = []  # one per example; empty if no example has a source
        self._by_origin: dict[str, list[int]] = defaultdict(list)
        if any(sources):
            self._origins = [source or id for id, source in zip(pool.ids, sources, strict=True)]
            for position, origin in enumerate(self._origins):
                self._by_origin[origin].append(position)

    def positions(
        self,
        queries: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None,
        leave_self_out: bool,
        labels: Sequence[Collection[str]] | None = None,
    ) -> list[Excluded]:
        """For each query, the positions excluded by its ids, its text and its labels.

        Raises
        ------
        ConfigError
            An argument is not aligned with ``queries``.
        """
        for name, given in (("exclude_ids", exclude_ids), ("labels", labels)):
            if given is not None and len(given) != len(queries):
                raise ConfigError(f"{len(queries)} queries but {len(given)} entries in {name}")
            if given is not None and any(isinstance(entry, str) for entry in given):
                raise ConfigError(f"{name} takes a collection for each query, not a text")
        excluded = []
        for place, query in enumerate(queries):
            single: set[int] = set()
            if exclude_ids is not None:
                single.update(self._pool.find(exclude_ids[place]))
            if leave_self_out:
                single.update(self._duplicates.find(query))
            if self._origins:
                for position in list(single):
                    single.update(self._by_origin[self._origins[position]])
            allowed = None
            if labels is not None:
                allowed = [self._numbers[name] for name in labels[place] if name in self._numbers]
            excluded.append(Excluded(single, self._pool.groups, allowed))
        return excluded


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """Rows and their search results, made by :meth:`ecomfs.retrieve.Retriever.queries`.

    Attributes:
        texts: the rows as text.
        rows: their fields; ``None`` if only the texts are known.
        vectors: query vectors, shape (n, dimensions).
        excluded: for each row, the examples that may not be shown.
        hits: for each row, the examples found, most relevant first.
        reach: numbers of candidates that were searched for.
        own: for each row, its position in the pool if it is an example that is answered
            leave-one-out; ``None`` for a new row.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.retrieve import Retriever
    >>> from ecomfs.types import Example
    >>> pool = [Example("a", {}, "good"), Example("b", {}, "bad")]
    >>> retriever = Retriever(pool, ["a lovely coat", "a torn shirt"], HashedEmbedder())
    >>> queries = retriever.queries(["lovely coat"], neighbours=1)
    >>> len(queries), queries.hits[0].positions.tolist(), queries.own
    (1, [0], (None,))
    """

    texts: Sequence[str]
    rows: Sequence[Row] | None
    vectors: Vectors
    excluded: Sequence[Excluded]
    hits: Sequence[Hits]
    reach: Reach
    own: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def trimmed(
        self,
        row: int,
        reach: Reach,
        group_of: NDArray[np.int64],
        allowed: Collection[int] | None = None,
    ) -> Hits | None:
        """The hits of a search with another reach, taken from those of this one; ``None`` if these
        are too few.

        Args:
            row: position of the row.
            reach: reach of the other search.
            group_of: number of each example's label, shape (pool,).
            allowed: numbers of the labels that may be shown; ``None``: all.
        """
        hits = self.hits[row]
        if allowed is None and reach == self.reach:
            return hits
        groups = group_of[hits.positions]
        first = np.arange(len(hits)) < self.reach.nearest
        if allowed is not None:
            kept = np.flatnonzero(np.isin(groups, list(allowed)))
            hits = Hits(hits.positions[kept], hits.similarities[kept])
            groups, first = groups[kept], first[kept]
        if len(self.hits[row]) >= self.reach.nearest:  # otherwise the hits are complete
            if first.sum() < reach.nearest or self.reach.per_label < reach.per_label:
                return None
            if reach.per_label and reach.far_labels and not self.reach.far_labels:
                # Labels of the nearest were searched as deep as far labels would have been.
                far = np.unique(group_of) if allowed is None else list(allowed)
                if not np.isin(far, groups[first]).all():
                    return None
        wanted = np.unique(groups if reach.far_labels else groups[: reach.nearest])
        places = top(groups, reach.nearest, reach.per_label, wanted.tolist())
        return Hits(hits.positions[places], hits.similarities[places])


_BATCH = 1024  # queries searched at a time


class Retriever:
    """Chooses demonstrations from a pool.

    Args:
        examples: the labelled examples.
        texts: the examples as text, aligned with ``examples``.
        embedder: the embedder; it is fitted on ``texts``.
        mode: what is compared: ``dense`` (the texts), ``tabular`` (the fields), or ``mixed``
            (both). The last two need ``fields``, and ``rows`` for every query.
        strategy: how demonstrations are selected: ``balanced`` (labels take turns), or another
            name or object of :mod:`ecomfs.retrieve.strategies`.
        seed: seed of random choices of the strategies.
        index: ``exact``, ``ivf`` (approximate, FAISS), ``auto`` (exact up to 100,000 examples),
            or an index over ``texts``.
        fields: the fields to compare (:class:`ecomfs.retrieve.TabularSpace`).
        tabular_weight: weight of the fields in ``mixed``, 0 to 1.
        choice: how mode and weight were chosen; kept for records.
        progress: called with the number of embedded examples.

    Raises:
        PoolError: there are no examples.
        ConfigError: an unknown name, or the numbers of texts and examples differ.

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
        self.strategy = open_strategy(strategy)  # first: a wrong name fails before texts are read
        if not examples:
            raise PoolError("the pool is empty", hint="add labelled examples")
        if len(examples) != len(texts):
            raise ConfigError(f"{len(examples)} examples but {len(texts)} texts")
        self.examples = tuple(examples)
        self.texts = tuple(texts)
        self.labels: tuple[str, ...] = tuple(dict.fromkeys(e.label for e in self.examples))
        """The pool's labels in order of first appearance: the columns of :meth:`vote`."""
        self.mode = mode
        self.source = embedder
        """The embedder as it was given, not fitted to this pool."""
        self.embedder = embedder.fit(self.texts)
        self._encoder = open_encoder(
            mode, self.embedder, self.examples, self.texts, fields, tabular_weight
        )
        self.compares_fields = self._encoder is not None
        """Whether queries need ``rows`` in addition to texts."""
        self._learns = self.embedder is not embedder or self.compares_fields
        self._kind = index if isinstance(index, str) else "auto"
        self.index = self._open(progress) if isinstance(index, str) else index
        self._numbers = {label: number for number, label in enumerate(self.labels)}
        self.pool = PoolView(
            [e.id for e in self.examples],
            np.array([self._numbers[e.label] for e in self.examples], dtype=np.int64),
            self.index.vectors,
        )
        self._exclusion = Exclusion(
            self.pool,
            self.labels,
            self.texts,
            [e.source_id for e in self.examples],
        )
        self._seed = seed
        self.choice = choice
        self.options: dict[str, Any] = {
            "mode": mode,
            "strategy": self.strategy,
            "seed": seed,
            "fields": tuple(fields),
            "tabular_weight": tabular_weight,
        }
        """Its settings, by the names of the arguments; with the examples and the fingerprint of the
        embedder they determine every choice."""

    def _open(self, progress: Progress) -> VectorIndex:
        if self._encoder is None:
            return embed_index(self.texts, self.embedder, self._kind, progress)
        rows = [e.fields for e in self.examples]
        return build_index(self._encoder.embed(self.texts, rows, query=False), self._kind)

    def updated(self, examples: Sequence[Example], texts: Sequence[str]) -> Retriever:
        """A retriever for another version of the pool, with the same options; this one is not
        changed. Vectors of known texts are reused unless the embedder is fitted on the pool, so
        that the result equals a new retriever (except for the approximation of a large index)."""
        index: str | VectorIndex = self._kind
        if not self._learns and texts:
            index = update_index(self.index, self.texts, texts, self.embedder, self._kind)
        made = Retriever(examples, texts, self.source, index=index, **self.options)
        made._kind, made.choice = self._kind, self.choice
        return made

    def __len__(self) -> int:
        return len(self.examples)

    def embed(self, queries: Sequence[str], rows: Sequence[Row] | None = None) -> Vectors:
        """The query vectors for :attr:`index`."""
        if self._encoder is None:
            return self.embedder.embed(queries, query=True)
        return self._encoder.embed(queries, rows, query=True)

    def queries(
        self,
        texts: Sequence[str],
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
        k: int = 0,
        neighbours: int = 0,
    ) -> Queries:
        """Embed rows and search the pool for them, once for demonstrations and neighbours.

        Args:
            texts, rows, exclude_ids, leave_self_out: see :meth:`retrieve`.
            k: demonstrations that :meth:`demonstrations` will choose; 0: none.
            neighbours: nearest examples to find in addition, such as for a vote.

        Raises:
            ConfigError: ``k`` is negative, or an argument is not aligned with ``texts``.
        """
        if k < 0:
            raise ConfigError(f"k is {k}", hint="use 0 (no demonstrations) or more")
        if rows is not None and len(rows) != len(texts):
            raise ConfigError(f"{len(texts)} queries but {len(rows)} entries in rows")
        excluded = self._exclusion.positions(
            texts, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        vectors = self.embed(texts, rows)
        reach = self.strategy.reach(k, len(self.labels)) if k else Reach(0)
        reach = Reach(max(neighbours, reach.nearest), reach.per_label, reach.far_labels)
        hits = self._search(texts, vectors, reach, excluded)
        own: list[int | None] = [None for _ in texts]
        if leave_self_out and exclude_ids is not None:
            for row, (text, ids) in enumerate(zip(texts, exclude_ids, strict=True)):
                for position in sorted(self.pool.find(ids)):
                    if same_text(text) == same_text(self.texts[position]):
                        own[row] = position
        return Queries(texts, rows, vectors, excluded, hits, reach, tuple(own))

    def demonstrations(
        self,
        queries: Queries,
        k: int,
        labels: Sequence[Collection[str]] | None = None,
        *,
        without: Collection[int] = (),
    ) -> list[list[Demonstration]]:
        """The demonstrations of searched rows, in prompt order.

        They are selected from the hits. A row is searched again, with the same vector, only if its
        hits are too few, such as for a row limited to labels that are far away.

        Args:
            queries: made with the same ``k``.
            k: demonstrations per row; fewer only if the pool has fewer or the strategy selects
                fewer.
            labels: for each row, the labels whose examples may be shown; ``None``: all.
            without: positions of examples not to show, such as those of the shared block; rows are
                then searched again.

        Raises:
            ConfigError: ``labels`` is not aligned with the rows.
        """
        allowed = self._allowed(queries, labels)
        if k == 0:
            return [[] for _ in queries.texts]
        numbers = self.pool.labels
        excluded = [banned | without if without else banned for banned in queries.excluded]
        counts = [len(self.labels)] * len(queries)
        found: list[Hits | None] = []
        again: dict[Reach, list[int]] = {}
        reaches: dict[int, Reach] = {}  # by the number of labels that may be shown
        for row, few in enumerate(allowed):
            if few is not None:
                counts[row] = len(few)
                excluded[row] = Excluded(excluded[row].single, self.pool.groups, few)
            if counts[row] not in reaches:
                reaches[counts[row]] = self.strategy.reach(k, counts[row])
            reach = reaches[counts[row]]
            found.append(None if without else queries.trimmed(row, reach, numbers, few))
            if found[row] is None:
                again.setdefault(reach, []).append(row)
        for reach, mine in again.items():
            texts = [queries.texts[row] for row in mine]
            banned = [excluded[row] for row in mine]
            searched = self._search(texts, queries.vectors[mine], reach, banned)
            for row, hits in zip(mine, searched, strict=True):
                found[row] = hits
        return [
            self._select(text, vector, hits, k, banned, count)
            for text, vector, hits, banned, count in zip(
                queries.texts, queries.vectors, found, excluded, counts, strict=True
            )
            if hits is not None
        ]

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
        """The demonstrations of each query, in prompt order: :meth:`queries`, then
        :meth:`demonstrations`.

        Args:
            queries: the rows to classify, as text.
            k: demonstrations per query, at least 0; fewer only if the pool has fewer or the
                strategy selects fewer.
            rows: the fields of the queries, for modes ``tabular`` and ``mixed``; a value that is
                not of its field's kind counts as missing.
            exclude_ids: for each query, ids of examples that may not be shown, such as its own if
                the query is from the pool.
            leave_self_out: also exclude examples with the same text as the query. Needed if the
                answers to the queries are known (fitting, evaluation). In production, an example
                equal to the query is the best one to show.
            labels: for each query, the labels whose examples may be shown.

        Raises:
            ConfigError: ``k`` is negative, or an argument is not aligned with ``queries``.
        """
        for name, given in (("rows", rows), ("exclude_ids", exclude_ids), ("labels", labels)):
            if given is not None and len(given) != len(queries):
                raise ConfigError(f"{len(queries)} queries but {len(given)} entries in {name}")
        result: list[list[Demonstration]] = []
        for start in range(0, len(queries), _BATCH):
            part = slice(start, start + _BATCH)
            looked_up = self.queries(
                queries[part],
                rows=None if rows is None else rows[part],
                exclude_ids=None if exclude_ids is None else exclude_ids[part],
                leave_self_out=leave_self_out,
                k=k,
            )
            result += self.demonstrations(looked_up, k, None if labels is None else labels[part])
        return result

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
        :attr:`examples` and cosines. The other arguments are those of :meth:`retrieve`."""
        if n < 1:
            raise ConfigError(f"{n} neighbours", hint="use 1 or more")
        return self.queries(
            queries,
            rows=rows,
            exclude_ids=exclude_ids,
            leave_self_out=leave_self_out,
            neighbours=n,
        ).hits

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
        """The neighbours' vote: probabilities of shape (queries, labels), with columns as in
        :attr:`labels`. See :func:`ecomfs.retrieve.index.kernel_vote` for the formula.

        Args:
            temperature: in units of similarity, above 0; ``None``: :attr:`similarity_scale`. With
                k = 8 it was within a point of the best of twelve settings on six development sets,
                for both shipped embedders.
        """
        scale = self.similarity_scale if temperature is None else temperature
        if not scale > 0:
            raise ConfigError(f"temperature is {scale}", hint="it must be above 0")
        hits = self.neighbours(
            queries, k, rows=rows, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        votes = [
            kernel_vote(h.similarities, self.pool.labels[h.positions], len(self.labels), scale)
            for h in hits
        ]
        return np.array(votes, dtype=np.float64).reshape(len(queries), len(self.labels))

    @cached_property
    def similarity_scale(self) -> float:
        """Standard deviation of the similarity between two different examples of the pool (of at
        most 512, spread evenly), as the unit of similarity for this embedder and mode."""
        places = np.array(sample_places(len(self)))
        queries = self.embed(
            [self.texts[p] for p in places], [self.examples[p].fields for p in places]
        )
        return spread(queries, self.index.vectors[places])

    def _search(
        self,
        texts: Sequence[str],
        vectors: Vectors,
        reach: Reach,
        excluded: Sequence[Excluded],
    ) -> Sequence[Hits]:
        if not reach.nearest and not reach.per_label:
            nothing = Hits(np.empty(0, dtype=np.int64), np.empty(0))
            return [nothing for _ in texts]
        return self.index.search(
            vectors,
            reach.nearest,
            excluded=excluded,
            groups=self.pool.groups,
            per_group=reach.per_label,
            far_groups=reach.far_labels,
        )

    def _allowed(
        self, queries: Queries, labels: Sequence[Collection[str]] | None
    ) -> list[list[int] | None]:
        """For each row, numbers of the labels that may be shown; ``None``: all."""
        if labels is None:
            return [None for _ in queries.texts]
        if len(labels) != len(queries):
            raise ConfigError(f"{len(queries)} queries but {len(labels)} entries in labels")
        if any(isinstance(entry, str) for entry in labels):
            raise ConfigError("labels takes a collection for each query, not a text")
        return [
            sorted({self._numbers[name] for name in few if name in self._numbers}) for few in labels
        ]

    def _select(
        self,
        text: str,
        vector: Vectors,
        hits: Hits,
        k: int,
        excluded: Excluded,
        label_count: int,
    ) -> list[Demonstration]:
        """The demonstrations selected by the strategy, in prompt order."""
        candidates = Candidates(
            query=text,
            positions=hits.positions,
            similarities=hits.similarities,
            label_count=label_count,
            excluded=excluded,
            pool=self.pool,
        )
        chosen = self.strategy.select(candidates, k, self._seed)
        # Most relevant first: neighbours in their ranking, then others by similarity.
        known = dict(zip(hits.positions.tolist(), hits.similarities.tolist(), strict=True))
        wanted = set(chosen)
        positions = [p for p in known if p in wanted]
        similarities = [known[p] for p in positions]
        if len(positions) < len(wanted):
            others = np.array([p for p in chosen if p not in known], dtype=np.int64)
            rest = self.index.rank(vector, others)
            positions += rest.positions.tolist()
            similarities += rest.similarities.tolist()
        # Models give most weight to what they read last: the most similar comes last.
        ranked = [
            Demonstration(self.examples[p], self.texts[p], s)
            for p, s in zip(positions, similarities, strict=True)
        ]
        return ranked[::-1]
