"""Traffic split between variants, each assignment and prediction logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ecomfs.errors import ConfigError, OutputError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline
from ecomfs.pool import Pool
from ecomfs.serve import schemas
from ecomfs.serve.service import Served, Service
from ecomfs.task import TaskCard
from ecomfs.traffic import (
    LoggedPrediction,
    LoggedStart,
    TrafficLog,
    TrafficRecord,
    TrafficSplit,
    now,
    read_log,
)
from ecomfs.types import Row

_log = logging.getLogger(__name__)


class SplitService:
    """Several fitted classifiers of one task behind one service.

    A row's variant is drawn by a hash of its id, so it is the same at every request and after
    every restart. Predictions are logged before they are returned; a log that cannot be
    written does not stop the service; ``GET /healthz`` counts the lost predictions.

    Parameters
    ----------
    classifiers : mapping of str to FewShotClassifier
        Variant → fitted classifier; the first is the one in use.
    split : ecomfs.traffic.TrafficSplit
        Weights and seed; the same variants.
    log : ecomfs.traffic.TrafficLog
        Where assignments and predictions go.
    sources : mapping of str to str, optional
        Variant → its description, for the log.

    Raises
    ------
    ConfigError
        Fewer than two variants, a classifier that is not fitted, or variants that differ in task
        or labels.
    OutputError
        The log cannot be written.

    Examples
    --------
    >>> import os
    >>> SplitService({}, TrafficSplit({"A": 1}), TrafficLog(os.devnull))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: variants  with weights of A (two or more variants, each with a ...

    Fitted classifiers hold a model, so they are not made here:

    >>> service = SplitService({"A": one, "B": two}, split, log)         # doctest: +SKIP
    >>> app = create_app(service)                                        # doctest: +SKIP
    """

    def __init__(
        self,
        classifiers: Mapping[str, FewShotClassifier],
        split: TrafficSplit,
        log: TrafficLog,
        *,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        if len(classifiers) < 2 or list(classifiers) != list(split.weights):
            raise ConfigError(
                f"variants {', '.join(classifiers)} with weights of {', '.join(split.weights)}",
                hint="two or more variants, each with a weight",
            )
        self._services = {name: Service(c) for name, c in classifiers.items()}
        self._split = split
        self._traffic = log
        self.unlogged = 0
        first = self.pipeline
        for name, service in self._services.items():
            other = service.pipeline
            if (other.card.name, set(other.space.names)) != (
                first.card.name,
                set(first.space.names),
            ):
                raise ConfigError(
                    f"variant {name!r} answers another task or other labels than the first",
                    hint="variants of one task on one pool can share the traffic",
                )
        log.write(
            [
                LoggedStart(
                    task=first.card.name,
                    labels=first.space.names,
                    weights=dict(split.weights),
                    seed=split.seed,
                    variants=dict(sources or {}),
                    time=now(),
                )
            ]
        )

    @property
    def waiting(self) -> int:
        """Rows that wait for the engines."""
        return sum(service.waiting for service in self._services.values())

    @property
    def backlog(self) -> float:
        """Seconds of work that wait or run, of the variant with most."""
        return max(service.backlog for service in self._services.values())

    @property
    def queue_seconds(self) -> float:
        """Of work that may wait for each engine."""
        return next(iter(self._services.values())).queue_seconds

    @queue_seconds.setter
    def queue_seconds(self, seconds: float) -> None:
        for service in self._services.values():
            service.queue_seconds = seconds

    @property
    def pipeline(self) -> Pipeline:
        """The first variant's."""
        return next(iter(self._services.values())).pipeline

    @property
    def problem(self) -> str:
        """Why a variant does not use the pool as it is now; empty while all do."""
        return next((s.problem for s in self._services.values() if s.problem), "")

    def refresh(self) -> Pipeline:
        """The first variant's; see :meth:`Service.refresh`."""
        for service in self._services.values():
            service.refresh()
        return self.pipeline

    def look(self) -> None:
        """See :meth:`Service.look`."""
        for service in self._services.values():
            service.look()

    @property
    def pool(self) -> Pool:
        """The labelled examples, which the variants share."""
        return next(iter(self._services.values())).pool

    def rows(self, rows: Sequence[Any]) -> list[Row]:
        """The rows of a request as rows of the task; see :meth:`Service.rows`."""
        first = next(iter(self._services.values()))
        return [self.masked(row) for row in first.rows(rows)]

    def masked(self, row: Row) -> Row:
        """A row of the task, masked where a variant wants that."""
        for service in self._services.values():
            row = service.masked(row)
        return row

    async def logged(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Served]:
        """One answer per row, in order, each by the variant of its id; all are logged.

        Raises:
            EngineError: a variant's engine is unavailable; nothing of the request is logged.
        """
        answers = await self.answers(rows, ids)
        entries = [
            LoggedPrediction.of(
                a.variant or "", a.explanation.state.language, a.explanation.prediction
            )
            for a in answers
        ]
        try:
            await asyncio.to_thread(self._traffic.write, entries)
        except OutputError as error:
            if not self.unlogged:
                _log.error("predictions are not logged: %s", error)
            self.unlogged += len(entries)
        return answers

    async def answers(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Served]:
        """As :meth:`logged`, but nothing is logged."""
        mine: dict[str, list[int]] = {}
        for i, id_ in enumerate(ids):
            mine.setdefault(self._split.of(id_), []).append(i)
        found = await asyncio.gather(
            *(
                self._services[name].answer([rows[i] for i in at], [ids[i] for i in at])
                for name, at in mine.items()
            )
        )
        answers: dict[int, Served] = {}
        for (name, at), explanations in zip(mine.items(), found, strict=True):
            for i, explanation in zip(at, explanations, strict=True):
                answers[i] = Served(explanation, name)
        return [answers[i] for i in range(len(ids))]

    @property
    def engine_error(self) -> str:
        """Of the first variant whose engine counts as unhealthy (:attr:`Service.engine_error`)."""
        return next((s.engine_error for s in self._services.values() if s.engine_error), "")

    def record(self) -> TrafficRecord:
        """What was logged so far.

        Raises:
            InputError: the log cannot be read.
        """
        return read_log(self._traffic.path)

    def variants(self) -> list[schemas.VariantOut]:
        """The variants as in ``GET /healthz``."""
        shares = self._split.shares
        return [
            schemas.VariantOut(
                name=name,
                share=shares[name],
                engine=service.pipeline.engine.spec,
                k=service.pipeline.k,
                templates={
                    language: str(setup.builder.ref)
                    for language, setup in service.pipeline.setups.items()
                },
            )
            for name, service in self._services.items()
        ]


@dataclass(frozen=True, slots=True)
class Compared:
    """Variants compared on labelled rows.

    Attributes:
        scores: variant → metric → score in words.
        decision: in words.
        notes: how it was made.
    """

    scores: Mapping[str, Mapping[str, str]]
    decision: str
    notes: tuple[str, ...]


class Compare(Protocol):
    """Compares the variants of a log; ``ecomfs serve`` gives :func:`ecomfs.ab.compare_log`."""

    def __call__(
        self, log: TrafficRecord, labels: Mapping[str, str], card: TaskCard, /
    ) -> Compared:
        """Compare on the rows that have labels, by id."""
        ...
