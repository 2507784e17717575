"""The tasks of a service: the classifier of each, its pool and its reviews."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError, EngineTimeoutError, InputError, NotFoundError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline
from ecomfs.pool import Pool
from ecomfs.retrieve import Retriever
from ecomfs.serve.idempotency import Repeats
from ecomfs.serve.keys import MARK, Caller, key_of
from ecomfs.serve.order import helpful_first
from ecomfs.serve.reviews import Review, Reviews
from ecomfs.serve.service import Served, Service
from ecomfs.serve.split import SplitService
from ecomfs.task import TaskCard, one_cell
from ecomfs.types import Example, Prediction, Row, Status

ADMITTED = 0.8
"""Of the deadline: work that would wait longer is refused at once. The pace is an estimate, and a
row that is answered just too late has cost as much as one in time."""
ALIKE = 5
"""Open reviews whose predictions are made again after a decision: those most like its row."""
_LOOKED_AT = 300
"""Open reviews, the most uncertain first, among which these are searched, and the next ones."""


@dataclass(frozen=True, slots=True)
class Again:
    """A row before and after a change of the pool.

    Attributes:
        review: of the row.
        similarity: to the row that was decided; 1 for that row itself.
        before, after: its predictions.
    """

    review: Review
    similarity: float
    before: Mapping[str, float]
    after: Served


class ServedTask:
    """One task of a service.

    Args:
        name: what callers call it.
        classifier: fitted; or several that share the traffic.
        deadline: seconds a request may take.
        review_below: predictions with less confidence, and those that abstained, are queued for
            review; ``None``: none are.
        tenant: whose task it is; only keys of this tenant see it.
    """

    def __init__(
        self,
        name: str,
        classifier: FewShotClassifier | SplitService,
        *,
        deadline: float = 60.0,
        review_below: float | None = None,
        tenant: str = "",
    ) -> None:
        self.name = name
        self.tenant = tenant
        self.split = classifier if isinstance(classifier, SplitService) else None
        self.service: Service | SplitService = (
            classifier if isinstance(classifier, SplitService) else Service(classifier)
        )
        self._lock = Lock()
        self._stored: tuple[Pool, Reviews, Repeats] | None = None
        self.deadline = deadline
        self.service.queue_seconds = ADMITTED * deadline
        self.review_below = review_below
        self._compares: Retriever | None = None
        self._vectors: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._examples: tuple[int, list[Example]] = (-1, [])
        self._beside()  # tables that cannot be made are an error of the start

    @property
    def key(self) -> str:
        """What it is called where tenants meet: in the database, in metrics, between modules."""
        return key_of(self.tenant, self.name)

    @property
    def pool(self) -> Pool:
        """The labelled examples."""
        return self.service.pool

    @property
    def reviews(self) -> Reviews:
        """Rows that wait for a person, and decisions, beside the pool."""
        return self._beside()[1]

    @property
    def repeats(self) -> Repeats:
        """Answers to writes that can be sent again, beside the pool."""
        return self._beside()[2]

    def _beside(self) -> tuple[Pool, Reviews, Repeats]:
        pool = self.pool
        with self._lock:
            if self._stored is None or self._stored[0] is not pool:
                made = Reviews(pool, self.key), Repeats(pool.database)
                self._stored = (pool, *made)
            return self._stored

    @property
    def pipeline(self) -> Pipeline:
        """What answers now."""
        return self.service.pipeline

    @property
    def card(self) -> TaskCard:
        """The task card."""
        return self.pipeline.card

    def rows(self, rows: Sequence[Any]) -> list[Row]:
        """The rows of a request as rows of the task.

        Raises:
            InputError: they are not.
        """
        return self.service.rows(rows)

    def masked(self, row: Row) -> Row:
        """A row of the task with personal data masked, where that is wanted."""
        return self.service.masked(row)

    def label(self, spelling: str, where: str, *, new: bool = False) -> str:
        """A label of a request in the pool's spelling.

        Args:
            new: a label that an open task does not have yet is taken as it is.

        Raises:
            UnknownLabelError: it is none of the task's labels.
            InputError: it is empty.
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
            return one_cell(named, mark)
        found = space.index(spelling)
        if found is None and new and self.card.label_space == "open":
            return spelling.strip()
        return space.names[space.require(spelling, where) if found is None else found]

    async def answer(
        self, rows: Sequence[Row], ids: Sequence[str], *, log: bool = False
    ) -> list[Served]:
        """One answer per row, in order.

        Args:
            log: of rows that a caller asked about; where traffic is split they are logged.

        Raises:
            EngineTimeoutError: not within the deadline.
        """
        try:
            async with asyncio.timeout(self.deadline):
                if log:
                    return await self.service.logged(rows, ids)
                return await self.service.answers(rows, ids)
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"no answer within {self.deadline:g} seconds", hint="send fewer rows at once"
            ) from error

    def unsure(self, answers: Iterable[Served]) -> list[bool]:
        """Which answers a person should look at, by :attr:`review_below`."""
        below = self.review_below
        out = []
        for answer in answers:
            p = answer.explanation.prediction
            low = p.confidence is not None and below is not None and p.confidence < below
            out.append(below is not None and (low or p.status == Status.ABSTAINED))
        return out

    async def after(self, decided: Review) -> list[Again]:
        """New predictions of a row that was decided or opened again, and of the open ones most like
        it. They are kept with their reviews."""
        alike = await asyncio.to_thread(self._alike, decided)
        asked = [(decided, 1.0), *alike]
        answers = await self.answer(
            [review.fields for review, _ in asked], [review.id for review, _ in asked]
        )
        kept = {r.id: a.explanation.prediction for (r, _), a in zip(asked, answers, strict=True)}
        await asyncio.to_thread(self.reviews.predicted, _only_distributions(kept))
        return [
            Again(review, similarity, review.probabilities, answer)
            for (review, similarity), answer in zip(asked, answers, strict=True)
        ]

    def waiting(self, n: int, *, offset: int = 0) -> list[Review]:
        """Open reviews, those first whose labels help most (:mod:`ecomfs.serve.order`); beyond the
        first of a long queue the most uncertain first."""
        looked = self.reviews.queue(_LOOKED_AT)
        if offset < len(looked):
            looked = helpful_first(looked, self.service.refresh(), self.vectors)
        found = looked[offset : offset + n]
        if len(looked) == _LOOKED_AT and len(found) < n:
            beyond = max(offset, _LOOKED_AT)
            found += self.reviews.queue(n - len(found), offset=beyond)
        return found

    def examples(self) -> tuple[int, list[Example]]:
        """The pool's version and its examples."""
        version = self.pool.version
        with self._lock:
            if self._examples[0] != version:
                self._examples = self.pool.snapshot()
            return self._examples

    def text(self, row: Row) -> str:
        """A row as people and the retriever read it."""
        return self.pipeline.text(row)

    def _alike(self, decided: Review) -> list[tuple[Review, float]]:
        others = [r for r in self.reviews.queue(_LOOKED_AT) if r.id != decided.id]
        if not others or self.pipeline.retriever is None:
            return []
        vectors = self.vectors([decided.fields, *(r.fields for r in others)])
        similarities = vectors[1:] @ vectors[0]
        best = np.argsort(-similarities, kind="stable")[:ALIKE]
        return [(others[i], float(similarities[i])) for i in best]

    def vectors(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Rows as vectors of a retriever, to compare them with each other. They are kept: those of
        text for good, those of tabular rows while the pool is the same."""
        pipeline = self.service.refresh()
        retriever = pipeline.retriever
        if retriever is None:
            return np.zeros((len(rows), 1), dtype=np.float32)
        texts = [pipeline.text(row) for row in rows]
        tabular = pipeline.card.tabular  # what a tabular row is compared by depends on the pool
        if not tabular:
            # Weights of terms change with every example: those of the first pool are kept, or
            # every open review would be embedded again at every decision.
            self._compares = self._compares or retriever
            retriever = self._compares
        mark = f"{retriever.embedder.fingerprint}/{pipeline.pool_version if tabular else ''}"
        keys = [(mark, text) for text in texts]
        missing = [i for i, key in enumerate(keys) if key not in self._vectors]
        if missing:
            found = retriever.embed([texts[i] for i in missing], [rows[i] for i in missing])
            with self._lock:
                for i, vector in zip(missing, found, strict=True):
                    self._vectors[keys[i]] = vector
        out = np.stack([self._vectors[key] for key in keys])
        with self._lock:
            while len(self._vectors) > 4 * _LOOKED_AT:
                self._vectors.popitem(last=False)
        return out


class Tasks:
    """The tasks of a service, by tenant and name.

    Raises:
        ConfigError: a name that could be taken for another tenant's task.
    """

    def __init__(self, tasks: Iterable[ServedTask]) -> None:
        self._tasks = {task.key: task for task in tasks}
        for task in self:
            if MARK in task.name or MARK in task.tenant:
                raise ConfigError(
                    f"the name {task.key!r} of a task or tenant holds {MARK!r}",
                    hint="this mark stands between a tenant and its task",
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
            raise InputError("this service has several tasks", hint=f"name one as task: {names}")
        for task in seen:
            if task.name == name:
                return task
        raise NotFoundError(f"there is no task {name!r} here", hint=f"tasks are: {names}")

    def __iter__(self) -> Iterator[ServedTask]:
        return iter(self._tasks.values())


def _only_distributions(found: Mapping[str, Prediction]) -> dict[str, Prediction]:
    """A row that could not be read now keeps its earlier prediction."""
    return {id: p for id, p in found.items() if p.probabilities}


__all__ = ["ALIKE", "Again", "ServedTask", "Tasks"]
