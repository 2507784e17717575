"""The stages of a run, which overlap:

    read rows ─▶ retrieve and render ─▶ engine ─▶ journal

Each stage hands over through a bounded queue, so that memory holds a few blocks whatever the
number of rows. Reading, rendering and storing run in threads of their own; only the engine is
asked on the event loop, for several blocks at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ecomfs.batch.answer import pack
from ecomfs.batch.ends import Answers, Blocks, Watermark
from ecomfs.batch.feed import Block
from ecomfs.batch.journal import Entry
from ecomfs.batch.stop import Stop
from ecomfs.batch.tally import Tally
from ecomfs.batch.tracing import span
from ecomfs.engine.cached import CachedEngine
from ecomfs.errors import EcomfsError, EngineError
from ecomfs.pipeline import Pipeline, RowState
from ecomfs.types import Posterior, Prediction

BLOCK_ROWS = 256
BLOCK_SECONDS = 4.0
"""A block is made as large as the engine reads in about this time: what is lost by a kill."""
_SMALLEST = 4
_GONE = 8
"""When this many rows in a row of one block all fail for a reason that may pass, the engine is
down: better a run that stops and goes on later than a million failed rows."""

Answered = tuple[RowState, Posterior | EcomfsError | None, Prediction]


@dataclass(slots=True)
class _Finished:
    block: Block
    predictions: list[Prediction]


class Runner:
    """Answers all rows of a feed into its journal.

    Args:
        block_rows: most rows in one call of the engine (a chunk of the reader more or less).
        stages: keep the distributions after each step of a prediction.
        on_progress: called on the event loop after every commit, and when the feed has ended.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        feed: Blocks,
        journal: Answers,
        tally: Tally,
        stop: Stop,
        *,
        block_rows: int = BLOCK_ROWS,
        stages: bool = False,
        on_progress: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._pipeline = pipeline
        self._feed = feed
        self._journal = journal
        self._tally = tally
        self._stop = stop
        self._on_progress = on_progress
        self._stages = stages
        batch = pipeline.engine.capabilities.batch
        self._most = block_rows
        self._size = min(block_rows, max(_SMALLEST, batch))
        self._at_once = min(8, max(2, -(-2 * batch // block_rows)))
        self._mark = Watermark(journal.through)
        self._started = time.monotonic()
        self._reading = 0
        self._reading_since = 0.0
        self._reading_seconds = 0.0
        self._hits = _cache_counts(pipeline)

    async def run(self) -> None:
        """Until the input ends, or a stop is requested: then what the engine has is waited for
        and stored, and the rest is left.

        Raises:
            EngineError: the engine is gone; what was answered is stored.
            InputError, OutputError: the input or the journal gave up.
        """
        read: asyncio.Queue[Block | None] = asyncio.Queue(1)
        prepared: asyncio.Queue[tuple[Block, list[RowState]] | None] = asyncio.Queue(1)
        # A disk that is slower than the engine holds its blocks back.
        finished: asyncio.Queue[_Finished | None] = asyncio.Queue(self._at_once)
        with (
            ThreadPoolExecutor(1, "ecomfs-rows") as rows,
            ThreadPoolExecutor(1, "ecomfs-prompts") as prompts,
            ThreadPoolExecutor(1, "ecomfs-journal") as disk,
        ):
            storing = asyncio.create_task(self._store(finished, disk))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read(read, rows))
                    group.create_task(self._prepare(read, prepared, prompts))
                    group.create_task(self._ask_all(prepared, finished))
                    # A journal that fails must end the other stages.
                    group.create_task(_ends_with(storing))
            except BaseExceptionGroup as failures:
                raise _first(failures) from None
            finally:
                # Also after a failure: answers that are there are kept.
                end = asyncio.ensure_future(finished.put(None))
                await asyncio.wait([end, storing], return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    await asyncio.wait([storing])
                end.cancel()

    async def _read(self, out: asyncio.Queue[Block | None], thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        rows = self._tally.rows
        while not self._stop.requested:
            block = await loop.run_in_executor(thread, self._feed.next, self._size)
            if block is None:
                self._tally.total = rows
                self._on_progress(self._tally)
                break
            rows += block.rows
            await out.put(block)
        await out.put(None)

    async def _prepare(
        self,
        blocks: asyncio.Queue[Block | None],
        out: asyncio.Queue[tuple[Block, list[RowState]] | None],
        thread: ThreadPoolExecutor,
    ) -> None:
        loop = asyncio.get_running_loop()
        while (block := await blocks.get()) is not None:
            values = [asked.values for asked in block.asked]
            ids = [str(asked.position) for asked in block.asked]
            cases: list[RowState] = []
            if values and not self._stop.requested:
                with span("prepare", rows=len(values)):
                    cases = await loop.run_in_executor(thread, self._pipeline.prepare, values, ids)
            await out.put((block, cases))
        await out.put(None)

    async def _ask_all(
        self,
        prepared: asyncio.Queue[tuple[Block, list[RowState]] | None],
        out: asyncio.Queue[_Finished | None],
    ) -> None:
        slots = asyncio.Semaphore(self._at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()  # first a place, then a block: none waits unseen
                item = await prepared.get()
                if item is None:
                    break
                if self._stop.requested:
                    slots.release()
                    continue  # not begun: the next run asks it
                group.create_task(self._ask(*item, slots, out))
        await out.put(None)

    async def _ask(
        self,
        block: Block,
        cases: list[RowState],
        slots: asyncio.Semaphore,
        out: asyncio.Queue[_Finished | None],
    ) -> None:
        try:
            answered: list[Answered] = []
            if cases:
                started = self._begin()
                try:
                    with span("read", rows=len(cases)):
                        answered = await self._pipeline.answer(cases)
                finally:
                    self._end()
                _require_engine(answered)
                self._resize(len(cases), time.monotonic() - started)
            await out.put(_Finished(block, [prediction for _, _, prediction in answered]))
        finally:
            slots.release()

    async def _store(
        self, finished: asyncio.Queue[_Finished | None], thread: ThreadPoolExecutor
    ) -> None:
        """Everything that finished while the last transaction was written goes into the next."""
        loop = asyncio.get_running_loop()
        last = False
        while not last:
            items = [await finished.get()]
            while not finished.empty():
                items.append(finished.get_nowait())
            last = None in items
            done = [item for item in items if item is not None]
            if not done:
                continue
            with span("commit", blocks=len(done)):
                await loop.run_in_executor(thread, self._commit, done)
            self._count(done)
            self._on_progress(self._tally)

    def _commit(self, done: Sequence[_Finished]) -> None:
        names = self._pipeline.space.names
        entries = []
        for item in done:
            for asked, prediction in zip(item.block.asked, item.predictions, strict=True):
                packed = pack(prediction, names, stages=self._stages)
                entries.append(Entry(asked.position, asked.key, *packed))
            self._mark.add(item.block)
        self._journal.commit(entries, self._mark.through, **self._mark.known())
        self._feed.forget(entry.key for entry in entries)

    def _count(self, done: Sequence[_Finished]) -> None:
        tally = self._tally
        for item in done:
            for prediction in item.predictions:
                tally.add(prediction)
            tally.copied += item.block.copied
            tally.rows += item.block.rows - len(item.predictions)
            if item.block.progress is not None:
                tally.progress = max(item.block.progress, tally.progress or 0.0)
            if item.block.state is not None:
                tally.left_out = max(tally.left_out, item.block.state[2])
        now = time.monotonic()
        tally.seconds = now - self._started
        tally.reading_seconds = self._reading_seconds
        if self._reading:
            tally.reading_seconds += now - self._reading_since
        hits, tokens = _cache_counts(self._pipeline)
        remembered = hits - self._hits[0]
        answers = sum(p.prompt_tokens > 0 for item in done for p in item.predictions)
        tally.read += answers - (remembered - tally.remembered)
        tally.remembered = remembered
        # A remembered reading reports all its tokens as cached, though none was sent.
        spared = tokens - self._hits[1]
        self._hits = (self._hits[0], tokens)
        tally.prompt_tokens -= spared
        tally.cached_tokens -= spared

    def _begin(self) -> float:
        now = time.monotonic()
        if not self._reading:
            self._reading_since = now
        self._reading += 1
        return now

    def _end(self) -> None:
        self._reading -= 1
        if not self._reading:
            self._reading_seconds += time.monotonic() - self._reading_since

    def _resize(self, rows: int, seconds: float) -> None:
        wanted = rows * BLOCK_SECONDS / max(seconds, 1e-3)
        self._size = int(min(self._most, 2 * self._size, max(_SMALLEST, wanted)))


async def _ends_with(storing: asyncio.Task[None]) -> None:
    """Wait for the end of the storing stage without being its owner."""
    await asyncio.wait([storing])
    if (error := storing.exception()) is not None:
        raise error


def _require_engine(answered: Sequence[Answered]) -> None:
    """Raise when nothing of a whole block could be read, for reasons that may pass."""
    errors = [posterior for _, posterior, _ in answered]
    if len(errors) >= _GONE and all(isinstance(e, EngineError) and e.retryable for e in errors):
        error = errors[0]
        if isinstance(error, EngineError):
            raise error


def _cache_counts(pipeline: Pipeline) -> tuple[int, int]:
    """Readings, and their tokens, that came from the reading cache so far."""
    engine = pipeline.engine
    return (engine.hits, engine.hit_tokens) if isinstance(engine, CachedEngine) else (0, 0)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group of groups; the others followed from it."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
