"""One worker of a cluster: it holds a pipeline, and answers the partitions it is handed.

Its runner (:class:`ecomfs.batch.runner.Runner`) is the one of a run on one machine, and lives as
long as the worker: it goes from partition to partition without running dry in between. Nothing
here needs Ray; :mod:`ecomfs.batch.ray.runner` makes an actor of :class:`Scorer`.
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

from ecomfs.batch.feed import Asked, Block
from ecomfs.batch.identity import Identity, pipeline_identity
from ecomfs.batch.journal import Entry
from ecomfs.batch.runner import Runner
from ecomfs.batch.stop import Stop
from ecomfs.batch.tally import Tally
from ecomfs.core import event_loop
from ecomfs.pipeline import Pipeline
from ecomfs.task import LabelSpace, TaskCard

QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Nothing that we start reports to anybody."""

_IDLE_SECONDS = 0.2
Build = Callable[[], Pipeline]
Done = tuple[list[Entry], Tally]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a worker says of its pipeline.

    Attributes:
        spec: of the engine.
        node: the machine's name.
        version: of ecomfs there.
    """

    card: TaskCard
    space: LabelSpace
    identity: Identity
    k: int
    spec: str
    node: str
    version: str


class Scorer:
    """Answers partitions with a pipeline of its own; methods may be called from several threads.

    Args:
        build: makes the pipeline.
        folder: relative paths start here, where the machine has it.
    """

    def __init__(self, build: Build, folder: str) -> None:
        self._build = build
        self._folder = folder
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._desks: dict[bool, Desk] = {}

    def start(self) -> Facts:
        """Load the model and fit.

        Raises:
            EcomfsError: anything that the options get wrong on this machine.
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

    def answer(self, asked: Sequence[Asked], block_rows: int, stages: bool) -> Done:
        """The answers of a partition, and what this worker did so far.

        Raises:
            EngineError: the engine is gone.
        """
        with self._lock:
            if stages not in self._desks:
                self._desks[stages] = Desk.of(self._started, block_rows, stages)
            desk = self._desks[stages]
        return desk.put(asked).result()

    def close(self) -> None:
        """End the runners; what was handed in and is not answered is given up."""
        with self._lock:
            while self._desks:
                self._desks.popitem()[1].close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function says of the pipeline and these arguments."""
        return function(self._started, *arguments)

    @property
    def _started(self) -> Pipeline:
        if self._pipeline is None:
            raise RuntimeError("start() comes first")
        return self._pipeline


@dataclass(slots=True)
class _Work:
    asked: list[Asked]
    future: Future[Done] = field(default_factory=Future)
    entries: list[Entry] = field(default_factory=list)


class Desk:
    """Both ends of a runner whose input does not end: partitions come in at any time, and each
    one's answers go out when they are all there.

    Its journal is the caller's, on another machine: nothing is stored here.
    """

    through = 0

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        self._rest: list[Asked] = []
        self._number = 0
        self._lock = threading.Lock()
        self._open: dict[int, _Work] = {}
        self._whole: list[_Work] = []
        self._error: BaseException | None = None
        self._stop = Stop()
        self._run: Future[None] | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, block_rows: int, stages: bool) -> Desk:
        """A desk with its runner, running."""
        desk = cls()
        runner = Runner(
            pipeline, desk, desk, Tally(), desk._stop, block_rows=block_rows, stages=stages,
            on_progress=desk.hand_over,
        )  # fmt: skip
        desk._run = event_loop.submit(runner.run())
        desk._run.add_done_callback(desk.ended)
        return desk

    def close(self) -> None:
        """End the runner, and wait until it has."""
        self._stop.request()
        if self._run is not None:
            wait([self._run])

    def put(self, asked: Sequence[Asked]) -> Future[Done]:
        """Hand in a partition; its rows' positions are of no other that is being answered."""
        work = _Work(list(asked))
        with self._lock:
            if self._error is not None:
                work.future.set_exception(self._error)
                return work.future
            self._open.update((row.position, work) for row in work.asked)
        self._waiting.put(work)
        return work.future

    def next(self, size: int) -> Block:
        """Waits a moment for rows; a block is of one partition, and empty when there is none.

        It must not wait for ever: a runner that gives up waits for this to return.
        """
        if not self._rest:
            with contextlib.suppress(Empty):
                self._rest = self._waiting.get(timeout=_IDLE_SECONDS).asked
        taken, self._rest = self._rest[:size], self._rest[size:]
        block = Block(self._number, stop=0, asked=taken, rows=len(taken))
        self._number += 1
        return block

    def forget(self, keys: Iterable[bytes]) -> None:
        """Whoever hands in rows knows which of them are identical."""

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """Put answers to the partitions they are of."""
        with self._lock:
            for entry in entries:
                work = self._open.pop(entry.position)
                work.entries.append(entry)
                if len(work.entries) == len(work.asked):
                    self._whole.append(work)

    def hand_over(self, tally: Tally) -> None:
        """Give away the partitions that are whole."""
        with self._lock:
            whole, self._whole = self._whole, []
        for work in whole:
            work.future.set_result((work.entries, copy.deepcopy(tally)))

    def ended(self, run: Future[None]) -> None:
        """The runner gave up: so do all who wait."""
        error = run.exception() if not run.cancelled() else None
        with self._lock:
            self._error = error or RuntimeError("the runner ended")
            left = {id(work): work for work in (*self._open.values(), *self._whole)}
            self._open, self._whole = {}, []
        for work in left.values():
            work.future.set_exception(self._error)
