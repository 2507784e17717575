"""A worker of a cluster: it has a pipeline and classifies partitions of rows.

One :class:`ecomfs.batch.runner.Runner` processes all partitions of the worker. This module does not
import Ray; :mod:`ecomfs.batch.ray.actor_pool` makes an actor of :class:`Scorer`.
"""

from __future__ import annotations

import contextlib
import copy
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import Any

from ecomfs.batch.feed import PendingRow, RowBlock
from ecomfs.batch.identity import Identity, pipeline_identity
from ecomfs.batch.journal import Entry
from ecomfs.batch.runner import Runner, Stop, Tally
from ecomfs.core import event_loop
from ecomfs.pipeline import Pipeline
from ecomfs.task import LabelSpace, TaskCard

QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Environment variables that switch telemetry off."""

_IDLE_SECONDS = 0.2
Build = Callable[[], Pipeline]
Done = tuple[list[Entry], Tally]


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a worker's pipeline.

    Attributes:
        spec: spec of the engine.
        node: name of the machine.
        version: version of ecomfs on it.
    """

    card: TaskCard
    space: LabelSpace
    identity: Identity
    k: int
    spec: str
    node: str
    version: str


class Scorer:
    """Classifies partitions with a pipeline of its own; its methods are thread-safe.

    Args:
        build: makes the pipeline.
        folder: working directory for relative paths, if it exists on the machine.
    """

    def __init__(self, build: Build, folder: str) -> None:
        self._build = build
        self._folder = folder
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._queues: dict[bool, PartitionQueue] = {}

    def start(self) -> Facts:
        """Build the pipeline: load the model and fit.

        Raises:
            EcomfsError: the options cannot be used on this machine.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        self._pipeline = pipeline = self._build()
        return Facts(
            pipeline.card,
            pipeline.space,
            pipeline_identity(pipeline),
            pipeline.k,
            pipeline.engine.spec,
            socket.gethostname(),
            version("ecomfs"),
        )

    def answer(self, asked: Sequence[PendingRow], block_rows: int, stages: bool) -> Done:
        """The predictions of a partition, and this worker's totals so far.

        Raises:
            EngineError: the engine is unavailable.
        """
        with self._lock:
            if stages not in self._queues:
                self._queues[stages] = PartitionQueue.of(self._started, block_rows, stages)
            queue = self._queues[stages]
        return queue.put(asked).result()

    def close(self) -> None:
        """End the runners; unfinished partitions fail."""
        with self._lock:
            while self._queues:
                self._queues.popitem()[1].close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``function(pipeline, *arguments)``."""
        return function(self._started, *arguments)

    @property
    def _started(self) -> Pipeline:
        if self._pipeline is None:
            raise RuntimeError("call start() first")
        return self._pipeline


@dataclass(slots=True)
class _Work:
    asked: list[PendingRow]
    future: Future[Done] = field(default_factory=Future)
    entries: list[Entry] = field(default_factory=list)


class PartitionQueue:
    """An endless feed and an in-memory journal for a runner. Partitions arrive at any time; the
    predictions of each are returned together. Only the driver stores predictions.
    """

    through = 0

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        self._rest: list[PendingRow] = []
        self._number = 0
        self._lock = threading.Lock()
        self._open: dict[int, _Work] = {}
        self._whole: list[_Work] = []
        self._error: BaseException | None = None
        self._stop = Stop()
        self._run: Future[None] | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, block_rows: int, stages: bool) -> PartitionQueue:
        """A queue whose runner has started."""
        queue = cls()
        runner = Runner(
            pipeline,
            queue,
            queue,
            Tally(),
            queue._stop,
            block_rows=block_rows,
            stages=stages,
            on_progress=queue.deliver,
        )
        queue._run = event_loop.submit(runner.run())
        queue._run.add_done_callback(queue.ended)
        return queue

    def close(self) -> None:
        """Stop the runner and wait for its end."""
        self._stop.request()
        if self._run is not None:
            wait([self._run])

    def put(self, asked: Sequence[PendingRow]) -> Future[Done]:
        """Add a partition; no other one in the queue has rows with the same positions."""
        work = _Work(list(asked))
        with self._lock:
            if self._error is not None:
                work.future.set_exception(self._error)
                return work.future
            self._open.update((row.position, work) for row in work.asked)
        self._waiting.put(work)
        return work.future

    def next(self, size: int) -> RowBlock:
        """Up to ``size`` rows of one partition; an empty block after a short wait, because a runner
        that stops waits for this call."""
        if not self._rest:
            with contextlib.suppress(Empty):
                self._rest = self._waiting.get(timeout=_IDLE_SECONDS).asked
        taken, self._rest = self._rest[:size], self._rest[size:]
        block = RowBlock(self._number, stop=0, asked=taken, rows=len(taken))
        self._number += 1
        return block

    def forget(self, keys: Iterable[bytes]) -> None:
        """No effect: the driver finds identical rows."""

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """Add predictions to their partitions."""
        with self._lock:
            for entry in entries:
                work = self._open.pop(entry.position)
                work.entries.append(entry)
                if len(work.entries) == len(work.asked):
                    self._whole.append(work)

    def deliver(self, tally: Tally) -> None:
        """Return the results of complete partitions."""
        with self._lock:
            whole, self._whole = self._whole, []
        for work in whole:
            work.future.set_result((work.entries, copy.deepcopy(tally)))

    def ended(self, run: Future[None]) -> None:
        """Called when the runner ends: all waiting partitions fail with its error."""
        error = run.exception() if not run.cancelled() else None
        with self._lock:
            self._error = error or RuntimeError("the runner ended")
            left = {id(work): work for work in (*self._open.values(), *self._whole)}
            self._open, self._whole = {}, []
        for work in left.values():
            work.future.set_exception(self._error)
