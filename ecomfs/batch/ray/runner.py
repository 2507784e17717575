"""Scores one table on many machines: one actor per GPU (or machine), each loads the model once.

The driver reads the table, finds identical rows, and assigns partitions to actors. The predictions
of a partition are stored in the journal in one transaction. Only the driver uses input, journal and
output, so a run can be killed and resumed like a run on one machine. An actor that dies is
replaced, and its partitions are repeated.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from ecomfs.batch.feed import Feed, Watermark
from ecomfs.batch.identity import Identity
from ecomfs.batch.journal import Entry, Journal
from ecomfs.batch.ray.actor import Build, Facts
from ecomfs.batch.ray.actor_pool import ActorPool, Partition
from ecomfs.batch.ray.cluster import cluster
from ecomfs.batch.runner import Stop, Tally
from ecomfs.errors import ConfigError
from ecomfs.task import LabelSpace, TaskCard

T = TypeVar("T")
PARTITION_ROWS = 1024
_LOOK_SECONDS = 0.5


class RayScorer:
    """Classifies rows on a Ray cluster; passed to :func:`ecomfs.batch.score_table` in place of a
    pipeline.

    It is a context manager that owns the actors; after an error it cannot be used again.

    Args:
        build: makes the pipeline, once in every actor; must be importable there.
        address: see :func:`ecomfs.batch.ray.cluster.cluster`.
        actors: number of actors; default: one per GPU, or without GPUs one per machine. The run
            starts with as many as the cluster has resources for; the others start later.
        gpus: GPUs per actor; default: one if the cluster has any.
        partition_rows: rows per partition; an actor that dies loses at most two partitions.
        on_event: called with a message for the user, such as that an actor died.

    Raises:
        ConfigError: a number below 1, or see :func:`ecomfs.batch.ray.cluster.cluster`.
        EngineUnavailableError: no cluster answers.
        EcomfsError: any error of ``build``.
    """

    facts: Facts

    def __init__(
        self,
        build: Build,
        *,
        address: str | None = None,
        actors: int | None = None,
        gpus: float | None = None,
        partition_rows: int = PARTITION_ROWS,
        on_event: Callable[[str], None] = lambda text: None,
    ) -> None:
        for name, value in (("--actors", actors), ("--partition-rows", partition_rows)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value}", hint="use 1 or more")
        self._build = build
        self._address = address
        self._actors = actors
        self._gpus = gpus
        self._partition_rows = partition_rows
        self._on_event = on_event
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            ray = stack.enter_context(cluster(self._address))
            self._pool = ActorPool(
                ray,
                self._build,
                Path.cwd(),
                actors=self._actors,
                gpus=self._gpus,
                on_event=self._on_event,
            )
            stack.callback(self._pool.close)
            self.facts = self._pool.wait_for_one()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def card(self) -> TaskCard:
        """The task."""
        return self.facts.card

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        return self.facts.space

    @property
    def identity(self) -> Identity:
        """Everything that determines the predictions."""
        return self.facts.identity

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """The result of ``function(pipeline, *arguments)`` in an actor."""
        found: T = self._pool.call(function, arguments)
        return found

    def answer(
        self,
        feed: Feed,
        journal: Journal,
        tally: Tally,
        stop: Stop,
        *,
        block_rows: int,
        stages: bool,
        on_progress: Callable[[Tally], None],
    ) -> None:
        """See :class:`ecomfs.batch.RowScorer`.

        Raises:
            EngineError: an engine is unavailable, or actors die repeatedly.
        """
        store = _Store(feed, journal, tally, Watermark(journal.through))
        before = _sum(self._pool.stats)
        started = time.monotonic()
        again: deque[Partition] = deque()

        def following() -> Partition | None:
            """The next partition to assign."""
            while not stop.requested:
                if again:
                    return again.popleft()
                block = feed.next(self._partition_rows)
                if block is None:
                    return None
                if block.asked:
                    return Partition(block)
                store.add(Partition(block), [])  # all its rows have a prediction
            return None

        while True:
            handed = self._pool.assign(following, (block_rows, stages))
            if not self._pool.busy and (stop.requested or not handed):
                return
            for part, done in self._pool.poll(_LOOK_SECONDS):
                if done is None:
                    again.append(part)
                else:
                    store.add(part, done[0])
            now = _sum(self._pool.stats)
            for name in _SUMMED:
                setattr(tally, name, getattr(now, name) - getattr(before, name))
            tally.seconds = tally.reading_seconds = time.monotonic() - started
            on_progress(tally)


@dataclass(slots=True)
class _Store:
    """Adds predictions to the journal and the tally; partitions arrive in any order."""

    feed: Feed
    journal: Journal
    tally: Tally
    mark: Watermark

    def add(self, partition: Partition, entries: list[Entry]) -> None:
        block, tally = partition.block, self.tally
        self.mark.add(block)
        self.journal.commit(entries, self.mark.through, **self.mark.known)
        self.feed.forget(entry.key for entry in entries)
        tally.add_block(block)


_SUMMED = ("prompt_tokens", "cached_tokens", "read", "remembered")


def _sum(tallies: list[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        for name in _SUMMED:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    return total
