"""The tasks of a service, each with its classifier, pool and reviews."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import (
    ConfigError,
    EngineError,
    EngineTimeoutError,
    InputError,
    NotFoundError,
)
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline
from ecomfs.pool import Pool
from ecomfs.prepare.suggest import suggest
from ecomfs.retrieve import Retriever
from ecomfs.serve.keys import MARK, Caller, key_of
from ecomfs.serve.problems import problem_of
from ecomfs.serve.reviews import AgainOut, ReviewOut, Reviews
from ecomfs.serve.service import ServedPrediction, Service, prediction_out
from ecomfs.serve.split import SplitService
from ecomfs.serve.tables import IdempotentWrites
from ecomfs.task import TaskCard, join_labels
from ecomfs.types import Example, Row, Status

ADMITTED = 0.8
"""Share of the deadline; work that would wait longer is refused at once. The pace is an estimate,
and a row that is late by a little costs as much as one in time."""
ALIKE = 5
"""Number of most similar open reviews that are predicted again after a decision."""
CHOSEN = 5
"""One in this many open reviews is ordered by coverage; it then represents about fifteen rows."""
_LOOKED_AT = 300
"""Open reviews, the most uncertain first, among which these are searched, and the next ones."""


class ServedTask:
    """One task of a service.

    Args:
        name: name for callers; ``None``: the name of the task card.
        classifier: a fitted classifier, or several that share the traffic.
        deadline: time limit of a request in seconds.
        review_below: predictions that abstained or have less confidence are queued for review;
            ``None``: none are.
        tenant: the tenant; only its keys see the task.
    """

    def __init__(
        self,
        name: str | None,
        classifier: FewShotClassifier | SplitService,
        *,
        deadline: float = 60.0,
        review_below: float | None = None,
        tenant: str = "",
    ) -> None:
        self.split = classifier if isinstance(classifier, SplitService) else None
        self.services = (
            [*classifier.services.values()]
            if isinstance(classifier, SplitService)
            else [Service(classifier)]
        )
        for service in self.services:
            service.batcher.seconds = ADMITTED * deadline
        self.name = self.card.name if name is None else name
        self.tenant = tenant
        self.deadline = deadline
        self.review_below = review_below
        self._lock = Lock()
        self._stored: tuple[Pool, Reviews, IdempotentWrites] | None = None
        self._compares: Retriever | None = None
        self._vectors: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._examples: tuple[int, list[Example]] = (-1, [])
        self._stores()  # fail at the start if the tables cannot be created

    @property
    def key(self) -> str:
        """The unique key of the task, used in the database, in metrics, and between modules."""
        return key_of(self.tenant, self.name)

    @property
    def pool(self) -> Pool:
        """The labelled examples; variants share them."""
        return self.services[0].pool

    @property
    def reviews(self) -> Reviews:
        """The reviews and decisions, in the database of the pool."""
        return self._stores()[1]

    @property
    def idempotent_writes(self) -> IdempotentWrites:
        """The store of idempotent writes, in the database of the pool."""
        return self._stores()[2]

    def _stores(self) -> tuple[Pool, Reviews, IdempotentWrites]:
        pool = self.pool
        with self._lock:
            if self._stored is None or self._stored[0] is not pool:
                made = Reviews(pool, self.key), IdempotentWrites(pool.database)
                self._stored = (pool, *made)
            return self._stored

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in use; with variants, that of the first."""
        return self.services[0].pipeline

    @property
    def card(self) -> TaskCard:
        """The task card."""
        return self.pipeline.card

    @property
    def problem(self) -> str:
        """Why the current pool is not in use; empty if it is."""
        return next((s.problem for s in self.services if s.problem), "")

    @property
    def engine_error(self) -> str:
        """Why an engine is unhealthy; empty if none is."""
        return next((s.engine_error for s in self.services if s.engine_error), "")

    def refresh(self) -> Pipeline:
        """The pipeline for the current pool, or the last usable one."""
        for service in self.services:
            service.refresh()
        return self.pipeline

    def rows(self, rows: Sequence[Any]) -> list[Row]:
        """Convert the rows of a request to rows of the task, masked if a variant needs it.

        Raises:
            InputError: they are not rows of the task.
        """
        first, *others = self.services
        found = first.rows(rows)
        for service in others:
            found = [service.masked(row) for row in found]
        return found

    def masked(self, row: Row) -> Row:
        """A row of the task, with personal data masked if this is enabled."""
        for service in self.services:
            row = service.masked(row)
        return row

    def label(self, spelling: str, where: str, *, new: bool = False) -> str:
        """A label of a request in the pool's spelling.

        Args:
            new: accept a label that an open task does not have yet.

        Raises:
            UnknownLabelError: the task does not have the label.
            InputError: the label is empty.
        """
        if not spelling.strip():
            raise InputError(f"{where}: the label is empty", hint="name one of the labels")
        space, mark = self.pipeline.space, self.card.label_separator
        if mark:
            named = [
                text.strip()
                if new and space.index(text) is None and self.card.label_space == "open"
                else space.names[space.require(text, where)]
                for text in self.card.labels_of(spelling, where)
            ]
            # One order, so that two people who choose the same labels agree.
            order = {name: place for place, name in enumerate(space.names)}
            named.sort(key=lambda name: order.get(name, len(order)))
            return join_labels(named, mark)
        found = space.index(spelling)
        if found is None and new and self.card.label_space == "open":
            return spelling.strip()
        return space.names[space.require(spelling, where) if found is None else found]

    async def answer(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        log: bool = False,
        together: bool = False,
    ) -> list[ServedPrediction]:
        """One prediction per row, in order.

        Args:
            log: whether to log the predictions, if traffic is split.
            together: answer all rows by the first variant, so that their scores can be compared.

        Raises:
            EngineTimeoutError: the deadline has passed.
        """
        try:
            async with asyncio.timeout(self.deadline):
                if self.split is not None and not together:
                    return await self.split.answers(rows, ids, log=log)
                return [ServedPrediction(e) for e in await self.services[0].answer(rows, ids)]
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"no answer within {self.deadline:g} seconds", hint="send fewer rows at once"
            ) from error

    def needs_review(self, answers: Iterable[ServedPrediction]) -> list[bool]:
        """Which predictions need review, by :attr:`review_below`."""
        below = self.review_below
        out = []
        for answer in answers:
            p = answer.explanation.prediction
            low = p.confidence is not None and below is not None and p.confidence < below
            out.append(below is not None and (low or p.status == Status.ABSTAINED))
        return out

    async def predict_again(self, decided: ReviewOut) -> tuple[list[AgainOut], str]:
        """New predictions for a row that was decided or reopened, and for the most similar open
        rows. They are stored with the reviews.

        Returns:
            The predictions; and why there are none, if the engine cannot answer now. That is no
            error: the decision is stored already.
        """
        try:
            return await self._predict_again(decided), ""
        except EngineError as error:
            return [], problem_of(error)[1]

    async def _predict_again(self, decided: ReviewOut) -> list[AgainOut]:
        asked = [(decided, 1.0), *await asyncio.to_thread(self._alike, decided)]
        answers = await self.answer([r.row for r, _ in asked], [r.id for r, _ in asked])
        predictions = [answer.explanation.prediction for answer in answers]
        # A row that fails now keeps its earlier prediction.
        kept = {p.id: p for p in predictions if p.probabilities}
        await asyncio.to_thread(self.reviews.predicted, kept)
        return [
            AgainOut(
                review=review.id,
                row=review.row,
                similarity=similarity,
                before=review.probabilities,
                after=prediction_out(answer, explain=False),
            )
            for (review, similarity), answer in zip(asked, answers, strict=True)
        ]

    def waiting(self, n: int, *, offset: int = 0) -> list[ReviewOut]:
        """Open reviews, the most useful to label first; in a long queue, the rest is ordered by
        uncertainty."""
        looked = self.reviews.queue(_LOOKED_AT)
        if offset < len(looked):
            looked = self._helpful_first(looked)
        found = looked[offset : offset + n]
        if len(looked) == _LOOKED_AT and len(found) < n:
            beyond = max(offset, _LOOKED_AT)
            found += self.reviews.queue(n - len(found), offset=beyond)
        return found

    def _helpful_first(self, found: Sequence[ReviewOut]) -> list[ReviewOut]:
        """Order open reviews, given by decreasing uncertainty, by how useful a label is. Skipped
        rows stay last.

        With few labels, uncertainties mean little, and rows that represent many others and are far
        from every example are most useful. Later the uncertain rows are. Both ranks have the same
        weight (:func:`ecomfs.prepare.suggest.suggest`).
        """
        pipeline = self.refresh()
        retriever = pipeline.retriever
        fewest = min((review.skips for review in found), default=0)
        first = [review for review in found if review.skips == fewest]
        if len(first) < 3 or retriever is None:
            return [*found]
        rows = [review.row for review in first]
        texts = [pipeline.text(row) for row in rows]
        hits = retriever.neighbours(texts, 1, rows=rows)
        nearest = sorted({int(place) for hit in hits for place in hit.positions})
        chosen = suggest(
            texts,
            max(1, len(first) // CHOSEN),
            vectors=self._vectors_of(pipeline, rows),
            pool_vectors=self._vectors_of(
                pipeline, [retriever.examples[place].fields for place in nearest]
            ),
            uncertainty=[review.uncertainty for review in first],
        )
        ahead = [first[each.position] for each in chosen]
        ids = {review.id for review in ahead}
        return [*ahead, *(review for review in found if review.id not in ids)]

    def examples(self) -> tuple[int, list[Example]]:
        """The pool's version and its examples."""
        version = self.pool.version
        with self._lock:
            if self._examples[0] != version:
                self._examples = self.pool.snapshot()
            return self._examples

    def text(self, row: Row) -> str:
        """The text of a row, as for the retriever."""
        return self.pipeline.text(row)

    def _alike(self, decided: ReviewOut) -> list[tuple[ReviewOut, float]]:
        others = [r for r in self.reviews.queue(_LOOKED_AT) if r.id != decided.id]
        pipeline = self.refresh()
        if not others or pipeline.retriever is None:
            return []
        vectors = self._vectors_of(pipeline, [decided.row, *(r.row for r in others)])
        similarities = vectors[1:] @ vectors[0]
        best = np.argsort(-similarities, kind="stable")[:ALIKE]
        return [(others[i], float(similarities[i])) for i in best]

    def _vectors_of(self, pipeline: Pipeline, rows: Sequence[Row]) -> NDArray[np.float32]:
        """The retriever vectors of rows, to compare rows with each other. Vectors of text rows are
        cached permanently, those of tabular rows as long as the pool is unchanged."""
        retriever = pipeline.retriever
        if retriever is None:
            return np.zeros((len(rows), 1), dtype=np.float32)
        texts = [pipeline.text(row) for row in rows]
        tabular = pipeline.card.tabular  # the vector of a tabular row depends on the pool
        if not tabular:
            # Term weights change with every example. Keep those of the first pool; otherwise every
            # decision would embed every open review again.
            self._compares = self._compares or retriever
            retriever = self._compares
        mark = f"{retriever.embedder.fingerprint}/{pipeline.pool_version if tabular else ''}"
        keys = [(mark, text) for text in texts]
        # Other requests may drop vectors from the cache meanwhile, so the found ones are held here.
        with self._lock:
            held = {key: self._vectors[key] for key in keys if key in self._vectors}
        missing = [i for i, key in enumerate(keys) if key not in held]
        if missing:
            found = retriever.embed([texts[i] for i in missing], [rows[i] for i in missing])
            made = {keys[i]: vector for i, vector in zip(missing, found, strict=True)}
            held |= made
            with self._lock:
                self._vectors.update(made)
                while len(self._vectors) > 4 * _LOOKED_AT:
                    self._vectors.popitem(last=False)
        return np.stack([held[key] for key in keys])


class Tasks:
    """The tasks of a service, by tenant and name.

    Raises:
        ConfigError: the name of a task or tenant contains the separator of keys.
    """

    def __init__(self, tasks: Iterable[ServedTask]) -> None:
        self._tasks = {task.key: task for task in tasks}
        for task in self:
            if MARK in task.name or MARK in task.tenant:
                raise ConfigError(
                    f"the name {task.key!r} of a task or tenant contains {MARK!r}",
                    hint="choose a name without it: it separates a tenant from its task",
                )

    def visible(self, caller: Caller) -> list[ServedTask]:
        """The tasks that a caller may see, in the order of the configuration."""
        return [task for task in self if caller.sees(task.tenant, task.name)]

    def find(self, name: str | None, caller: Caller) -> ServedTask:
        """The task of a request.

        Args:
            name: ``None``: the only one.

        Raises:
            NotFoundError: there is none of this name that the caller may see.
            InputError: no name, and several tasks.
        """
        seen = self.visible(caller)
        names = ", ".join(task.name for task in seen) or "none"
        if name is None and len(seen) == 1:
            return seen[0]
        if name is None:
            raise InputError("this service has several tasks", hint=f"set task to one of: {names}")
        for task in seen:
            if task.name == name:
                return task
        raise NotFoundError(f"this service has no task {name!r}", hint=f"tasks are: {names}")

    def __iter__(self) -> Iterator[ServedTask]:
        return iter(self._tasks.values())
