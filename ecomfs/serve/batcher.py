"""Micro-batching: joins many small requests into few calls of the engine's batch size.

The rows of a request stay in one call. The batcher runs on the background event loop, like engines,
and needs no locks.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ecomfs.errors import EngineError, OverloadedError
from ecomfs.types import Row

T = TypeVar("T")
Call = Callable[[Sequence[Row], Sequence[str]], Awaitable[list[T]]]

UNMEASURED_ROWS = 4096
"""Most waiting rows before the first batch is done, while the pace is unknown."""
_MEMORY = 0.9
"""Weight of the earlier batches in the running average of the pace."""


@dataclass(eq=False, slots=True)
class _Job(Generic[T]):
    rows: Sequence[Row]
    ids: Sequence[str]
    until: float
    work: float
    answer: asyncio.Future[list[T]]
    batch: _Batch[T] | None = None


@dataclass(eq=False, slots=True)
class _Batch(Generic[T]):
    jobs: list[_Job[T]]
    started: float
    task: asyncio.Task[None] | None = None

    @property
    def work(self) -> float:
        return sum(job.work for job in self.jobs)

    @property
    def left(self) -> bool:
        """Whether all callers of the batch have left."""
        return all(job.answer.done() for job in self.jobs)


@dataclass(slots=True)
class _Pace:
    """Seconds per unit of work, averaged over the latest batches."""

    seconds: float = 0.0
    work: float = 0.0
    last: float = -math.inf

    def ended(self, started: float, now: float, work: float) -> None:
        # Batches overlap: count the time of a batch from the end of the previous one.
        self.seconds = _MEMORY * self.seconds + now - max(self.last, started)
        self.work = _MEMORY * self.work + work
        self.last = now

    def of(self, work: float) -> float | None:
        return self.seconds / self.work * work if self.work else None


def _one_each(row: Row) -> float:
    return 1.0


@dataclass(slots=True)
class MicroBatcher(Generic[T]):
    """Collects jobs and runs them together.

    A job whose caller disconnects leaves the queue at once. A batch without callers is cancelled. A
    job with more rows than a batch is a batch of its own; only one of these runs at a time, so that
    small jobs do not wait for large ones.

    Attributes:
        call: processes rows, one result per row, in order.
        rows: number of rows of a full batch.
        window: seconds that the first job of a batch waits for more.
        seconds: most waiting work in seconds, at the pace of the latest batches; more is refused.
        work: the amount of work of a row, in any unit.
        in_flight: batches that run at once: while the engine computes one, the next is prepared.
        staged: the call reports by :meth:`prepared` that it starts to call the engine. Until then
            no other batch starts: two batches prepared at once would share the processor, and jobs
            that could join the second one would wait for the third.
        clock: a monotonic clock, in seconds.
        waiting: number of waiting rows.

    >>> from ecomfs.core import event_loop
    >>> async def lengths(rows, ids):
    ...     return [len(row["text"]) for row in rows]
    >>> batcher = MicroBatcher(lengths, rows=8)
    >>> event_loop.run(batcher.submit([{"text": "abc"}, {"text": "de"}], ["1", "2"]))
    [3, 2]
    """

    call: Call[T]
    rows: int
    window: float = 0.005
    seconds: float = 60.0
    work: Callable[[Row], float] = _one_each
    in_flight: int = 2
    staged: bool = False
    clock: Callable[[], float] = time.monotonic
    waiting: int = field(default=0, init=False)
    _queue: deque[_Job[T]] = field(default_factory=deque, init=False)
    _running: set[_Batch[T]] = field(default_factory=set, init=False)
    _preparing: _Batch[T] | None = field(default=None, init=False)
    _pace: _Pace = field(default_factory=_Pace, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _full: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _collector: asyncio.Task[None] | None = field(default=None, init=False)
    _open_work: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.rows = max(1, self.rows)

    @property
    def backlog(self) -> float:
        """Seconds of waiting and running work, at the pace of the latest batches; 0 if unknown."""
        return self._pace.of(self._open_work) or 0.0

    def prepared(self) -> None:
        """Called by a staged call when its rows are prepared: the next batch may start."""
        batch = self._preparing
        if batch is not None and batch.task is asyncio.current_task():
            self._preparing = None
            self._note_change()

    async def submit(self, rows: Sequence[Row], ids: Sequence[str]) -> list[T]:
        """The results of these rows, when their batch is done.

        Raises:
            OverloadedError: too much work is waiting already.
            Exception: any exception of the call.
        """
        work = sum(self.work(row) for row in rows)
        self._admit(len(rows), work)
        loop = asyncio.get_running_loop()
        job = _Job(rows, ids, loop.time() + self.window, work, loop.create_future())
        self._queue.append(job)
        self._open_work += work
        self._note_change(len(rows))
        if self._collector is None or self._collector.done():
            self._collector = loop.create_task(self._collect())
        try:
            return await job.answer
        except asyncio.CancelledError:
            self._left(job)
            raise

    def _admit(self, rows: int, work: float) -> None:
        if not self._queue and not self._running:
            return  # admit a job of any size to an empty queue, or large jobs would never run
        hint = "send fewer rows at a time, or wait for the time in Retry-After"
        seconds = self._pace.of(self._open_work + work)
        if seconds is None and self._queue and self.waiting + rows > UNMEASURED_ROWS:
            raise OverloadedError(f"{self.waiting} rows are waiting already", hint=hint)
        if seconds is not None and seconds > self.seconds:
            raise OverloadedError(
                f"{self.waiting} rows are waiting: about {self.backlog:.0f} seconds of work",
                hint=hint,
                seconds=seconds - self.seconds,
            )

    def _left(self, job: _Job[T]) -> None:
        """The caller of a job has left."""
        batch = job.batch
        if batch is None:
            self._queue.remove(job)
            self._open_work -= job.work
            self._note_change(-len(job.rows))
        elif batch.task is not None and batch.left:
            batch.task.cancel()

    def _note_change(self, rows: int = 0) -> None:
        self.waiting += rows
        self._changed.set()
        if self.waiting >= self.rows:
            self._full.set()
        else:
            self._full.clear()

    async def _collect(self) -> None:
        while self._queue:
            # Wait for a free slot first: until then, jobs can still join the next batch.
            free = self._preparing is None and len(self._running) < self.in_flight
            first = self._first() if free else None
            if first is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            await self._until_full(first.until)
            jobs = self._take()
            if not jobs:
                continue
            batch = _Batch(jobs, self.clock())
            for job in jobs:
                job.batch = batch
            self._running.add(batch)
            self._preparing = batch if self.staged else None
            batch.task = asyncio.get_running_loop().create_task(self._run(batch))

    async def _until_full(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._full.wait()
        except TimeoutError:
            return

    def _first(self) -> _Job[T] | None:
        """The first job that may run now."""
        running = (job for batch in self._running for job in batch.jobs)
        large = any(len(job.rows) > self.rows for job in running)
        return next((j for j in self._queue if not large or len(j.rows) <= self.rows), None)

    def _take(self) -> list[_Job[T]]:
        """Take jobs for one batch from the queue."""
        taken: list[_Job[T]] = []
        size = 0
        while (job := self._first()) and (not taken or size + len(job.rows) <= self.rows):
            self._queue.remove(job)
            taken.append(job)
            size += len(job.rows)
        self._note_change(-size)
        return taken

    async def _run(self, batch: _Batch[T]) -> None:
        try:
            if await self._answer(batch.jobs):
                self._pace.ended(batch.started, self.clock(), batch.work)
        finally:
            self._pace.last = self.clock()
            self._running.discard(batch)
            if self._preparing is batch:
                self._preparing = None
            # After the last job only rounding errors remain.
            self._open_work = self._open_work - batch.work if self._running or self._queue else 0.0
            self._note_change()

    async def _answer(self, jobs: Sequence[_Job[T]]) -> bool:
        """Run jobs; ``False`` if the engine is unavailable."""
        try:
            results = await self._results(jobs)
        except Exception as error:
            if len(jobs) > 1 and not isinstance(error, EngineError):
                # The rows of one job made the call fail: run the jobs one by one.
                for job in jobs:
                    if not job.answer.done():
                        await self._answer([job])
                return True
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error)
            return not isinstance(error, EngineError)
        start = 0
        for job in jobs:
            if not job.answer.done():
                job.answer.set_result(results[start : start + len(job.rows)])
            start += len(job.rows)
        return True

    async def _results(self, jobs: Sequence[_Job[T]]) -> list[T]:
        rows = [row for job in jobs for row in job.rows]
        results = await self.call(rows, [id_ for job in jobs for id_ in job.ids])
        if len(results) != len(rows):
            raise RuntimeError(f"{len(results)} results for {len(rows)} rows")
        return results
