"""A table scored by many machines: one actor a GPU (or machine), each with the model loaded once.

The driver reads the table, finds identical rows, and hands out partitions of the rows that have
to be asked; an actor's answers to a partition come back as one, and go into the journal of the
run in one transaction. Input, journal and output are the driver's alone, so that a run is the
same as on one machine: it can be killed, gone on with, and merged in the same way.

An actor that dies is replaced, and what it was answering is asked again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from ecomfs.batch.identity import Identity
from ecomfs.batch.input import Feed, Watermark
from ecomfs.batch.journal import Entry, Journal
from ecomfs.batch.ray.actor import Build, Facts
from ecomfs.batch.ray.cluster import cluster
from ecomfs.batch.ray.crew import Crew, Partition
from ecomfs.batch.runner import Stop, Tally
from ecomfs.errors import ConfigError
from ecomfs.task import LabelSpace, TaskCard

T = TypeVar("T")
PARTITION_ROWS = 1024
_LOOK_SECONDS = 0.5


class RayScorer:
    """Answers rows on a Ray cluster; goes to :func:`ecomfs.batch.score_table` in place of a
    pipeline.

    Use it as a context, which has the actors; after an error it cannot be used again.

    Args:
        build: makes the pipeline, in every actor anew; must be importable there.
        address: see :func:`ecomfs.batch.ray.cluster.cluster`.
        actors: how many; default: one a GPU, or without GPUs one a machine. Those for which the
            cluster has room begin, the others join when there is some.
        gpus: GPUs of an actor; default: one where the cluster has any.
        partition_rows: rows to ask in one partition; the death of an actor costs two at most.
        on_event: called with what a person should know: an actor died, resources are awaited.

    Raises:
        ConfigError: a number below 1, or see :func:`ecomfs.batch.ray.cluster.cluster`.
        EngineUnavailableError: no cluster answers.
        EcomfsError: what ``build`` raises.
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
                raise ConfigError(f"{name} {value}", hint="1 or more")
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
            self._crew = Crew(
                ray, self._build, Path.cwd(), actors=self._actors, gpus=self._gpus,
                on_event=self._on_event,
            )  # fmt: skip
            stack.callback(self._crew.dismiss)
            self.facts = self._crew.wait_for_one()
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
        """What decides the answers."""
        return self.facts.identity

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """What ``function(pipeline, *arguments)`` gives in an actor."""
        found: T = self._crew.call(function, arguments)
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
            EngineError: an engine is gone, or actors die again and again.
        """
        store = _Store(feed, journal, tally, Watermark(journal.through))
        before = _sum(self._crew.told)
        started = time.monotonic()
        again: deque[Partition] = deque()

        def following() -> Partition | None:
            """A partition to hand out."""
            while not stop.requested:
                if again:
                    return again.popleft()
                block = feed.next(self._partition_rows)
                if block is None:
                    return None
                if block.asked:
                    return Partition(block)
                store.add(Partition(block), [])  # its rows are all known
            return None

        while True:
            handed = self._crew.hand_out(following, (block_rows, stages))
            if not self._crew.busy and (stop.requested or not handed):
                return
            for part, done in self._crew.turn(_LOOK_SECONDS):
                if done is None:
                    again.append(part)
                else:
                    store.add(part, done[0])
            now = _sum(self._crew.told)
            for name in _SUMMED:
                setattr(tally, name, getattr(now, name) - getattr(before, name))
            tally.seconds = tally.reading_seconds = time.monotonic() - started
            on_progress(tally)


@dataclass(slots=True)
class _Store:
    """Takes answers, in any order of the partitions, into the journal and the tally."""

    feed: Feed
    journal: Journal
    tally: Tally
    mark: Watermark

    def add(self, partition: Partition, entries: list[Entry]) -> None:
        block, tally = partition.block, self.tally
        self.mark.add(block)
        self.journal.commit(entries, self.mark.through, **self.mark.known())
        self.feed.forget(entry.key for entry in entries)
        tally.add_block(block)


_SUMMED = ("prompt_tokens", "cached_tokens", "read", "remembered")


def _sum(told: list[Tally]) -> Tally:
    total = Tally()
    for tally in told:
        for name in _SUMMED:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    return total
