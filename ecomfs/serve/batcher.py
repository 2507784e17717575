"""Micro-batching: many small requests become few calls of the engine's batch size.

A request's rows stay in one call. The batcher belongs to the background event loop, as engines do,
and needs no locks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ecomfs.errors import EngineError, OverloadedError
from ecomfs.types import Row

T = TypeVar("T")
Call = Callable[[Sequence[Row], Sequence[str]], Awaitable[list[T]]]


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    rows: Sequence[Row]
    ids: Sequence[str]
    deadline: float
    answer: asyncio.Future[list[T]] = field(compare=False)


class MicroBatcher(Generic[T]):
    """Collects jobs and runs them together.

    Args:
        call: answers rows, one result per row, in order.
        rows: a batch is full at this many rows.
        window: seconds the first job of a batch waits for more.
        pending: rows that may wait; more are refused, so that a burst cannot fill the memory.
        in_flight: batches that run at once: while the engine computes one, the next is prepared.

    >>> from ecomfs.core import event_loop
    >>> async def lengths(rows, ids):
    ...     return [len(row["text"]) for row in rows]
    >>> batcher = MicroBatcher(lengths, rows=8)
    >>> event_loop.run(batcher.submit([{"text": "abc"}, {"text": "de"}], ["1", "2"]))
    [3, 2]
    """

    def __init__(
        self,
        call: Call[T],
        *,
        rows: int,
        window: float = 0.005,
        pending: int = 4096,
        in_flight: int = 2,
    ) -> None:
        self._call = call
        self._rows = max(1, rows)
        self._window = window
        self._limit = pending
        self._queue: deque[_Job[T]] = deque()
        self._waiting = 0
        self._full = asyncio.Event()
        self._slots = asyncio.Semaphore(in_flight)
        self._collector: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return self._waiting

    async def submit(self, rows: Sequence[Row], ids: Sequence[str]) -> list[T]:
        """The results of these rows, once the batch they travel in is answered.

        Raises:
            OverloadedError: too many rows wait already.
            Exception: whatever the call raised.
        """
        # An empty queue takes a job of any size, or a large one could never be answered.
        if self._queue and self._waiting + len(rows) > self._limit:
            raise OverloadedError(
                f"{self._waiting} rows wait already", hint="send fewer at a time, or try later"
            )
        loop = asyncio.get_running_loop()
        job = _Job(rows, ids, loop.time() + self._window, loop.create_future())
        self._queue.append(job)
        self._waiting += len(rows)
        if self._waiting >= self._rows:
            self._full.set()
        if self._collector is None or self._collector.done():
            self._collector = loop.create_task(self._collect())
        return await job.answer

    async def _collect(self) -> None:
        while self._queue:
            # A free slot first: while all are taken, jobs keep joining the next batch.
            await self._slots.acquire()
            await self._until_full(self._queue[0].deadline)
            batch = self._take()
            if not batch:
                self._slots.release()
                continue
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    async def _until_full(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._full.wait()
        except TimeoutError:
            return

    def _take(self) -> list[_Job[T]]:
        """Jobs up to a full batch, without cancelled ones."""
        batch: list[_Job[T]] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].rows) <= self._rows):
            job = self._queue.popleft()
            self._waiting -= len(job.rows)
            if not job.answer.done():
                batch.append(job)
                size += len(job.rows)
        if self._waiting < self._rows:
            self._full.clear()
        return batch

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _run(self, batch: Sequence[_Job[T]]) -> None:
        try:
            results = await self._answers(batch)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, EngineError):
                # One job's rows broke the call: alone, the others are answered.
                for job in batch:
                    await self._run([job])
                return
            for job in batch:
                if not job.answer.done():
                    job.answer.set_exception(error)
            return
        start = 0
        for job in batch:
            if not job.answer.done():
                job.answer.set_result(results[start : start + len(job.rows)])
            start += len(job.rows)

    async def _answers(self, batch: Sequence[_Job[T]]) -> list[T]:
        rows = [row for job in batch for row in job.rows]
        results = await self._call(rows, [id_ for job in batch for id_ in job.ids])
        if len(results) != len(rows):
            raise RuntimeError(f"{len(results)} results for {len(rows)} rows")
        return results
