"""Classifies the rows of a feed and stores the predictions. The stages of a run overlap:

    read rows ─▶ retrieve and render ─▶ engine ─▶ journal

Blocks of rows pass from stage to stage through bounded queues, so memory holds only a few blocks,
whatever the number of rows. Reading, rendering and storing each run in a thread; the engine is
called on the event loop, for several blocks at a time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from signal import SIGINT, SIGTERM, Signals
from signal import signal as set_signal
from types import FrameType
from typing import Any, Protocol, Self

from ecomfs.batch.feed import Feed, RowBlock, Watermark
from ecomfs.batch.identity import Identity, PipelineLike, identity_of
from ecomfs.batch.journal import Entry, Journal, pack
from ecomfs.core import event_loop
from ecomfs.core.progress import READING, Progress
from ecomfs.engine.cached import CachedEngine
from ecomfs.errors import EngineError
from ecomfs.pipeline import Pipeline
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Status

BLOCK_ROWS = 256
BLOCK_SECONDS = 4.0
"""A block has as many rows as the engine reads in about this time, so a kill loses little work."""
_SMALLEST = 4
_GONE = 8
"""If all rows of a block of at least this size fail for a temporary reason, the engine is down: the
run stops and can be resumed, instead of ending with many failed rows."""


@dataclass(slots=True)
class Tally:
    """Counts of a run so far; the progress bar shows them.

    Attributes
    ----------
    rows : int
        Rows with a prediction.
    status : dict
        Status → number of rows.
    prompt_tokens, cached_tokens : int
        Tokens of the prompts sent by this process, and how many of them the engine did not compute
        again. Readings from the reading cache are not counted.
    read, remembered : int
        Readings of this process from the engine, and from the reading cache.
    copied : int
        Rows identical to another row, with the same prediction.
    resumed : int
        Rows done by an earlier, interrupted run.
    left_out : int
        Rows left out by ``where`` or ``sample``.
    progress : float, optional
        Share of the input read, 0 to 1; ``None`` if unknown.
    seconds, reading_seconds : float
        Wall time since the first row, and the part of it while the engine was reading.
    total : int, optional
        Total number of rows; ``None`` until the input was read to its end.

    Examples
    --------
    >>> tally = Tally(rows=10, read=8, reading_seconds=2.0, progress=0.5)
    >>> tally.add(Prediction("r1", "yes", {"yes": 1.0}, prompt_tokens=9))
    >>> tally.rows, tally.rate, tally.expected, tally.status["ok"]
    (11, 4.0, 22, 1)
    """

    rows: int = 0
    status: dict[str, int] = field(default_factory=lambda: {str(s): 0 for s in Status})
    prompt_tokens: int = 0
    cached_tokens: int = 0
    read: int = 0
    remembered: int = 0
    copied: int = 0
    resumed: int = 0
    left_out: int = 0
    progress: float | None = None
    seconds: float = 0.0
    reading_seconds: float = 0.0
    total: int | None = None

    @property
    def cache_share(self) -> float | None:
        """Share of prompt tokens that the engine did not compute again; ``None`` without any."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None

    @property
    def rate(self) -> float | None:
        """Rows read per second of engine time; ``None`` without any."""
        return self.read / self.reading_seconds if self.read and self.reading_seconds else None

    @property
    def expected(self) -> int | None:
        """Total number of rows, known or estimated from the share of the input read; ``None`` if
        unknown."""
        if self.total is not None or not self.progress:
            return self.total
        return max(self.rows, round(self.rows / self.progress))

    def report(self, progress: Progress) -> None:
        """Report the progress of reading."""
        details = []
        if self.rate is not None:
            details = [f"{self.rate:.1f} rows/s", f"{self.prompt_tokens:,} tokens"]
        if self.cache_share:
            details.append(f"{self.cache_share:.0%} reused")
        progress(READING, self.rows, self.expected, ", ".join(details))

    def add(self, prediction: Prediction) -> None:
        """Count a row that was classified."""
        self.rows += 1
        self.status[str(prediction.status)] += 1
        self.prompt_tokens += prediction.prompt_tokens
        self.cached_tokens += prediction.cached_tokens

    def add_block(self, block: RowBlock, counted: int = 0) -> None:
        """Count a finished block; ``counted`` of its rows were counted by :meth:`add`."""
        self.rows += block.rows - counted
        self.copied += block.copied
        if block.progress is not None:
            self.progress = max(block.progress, self.progress or 0.0)
        if block.state is not None:
            self.left_out = max(self.left_out, block.state[2])


@dataclass(slots=True)
class Stop:
    """Context manager that turns Ctrl-C and SIGTERM into a request to finish calls in flight.

    Inside the block the first SIGINT or SIGTERM only sets :attr:`signal`; a second SIGINT raises
    :class:`KeyboardInterrupt` as usual. Signals reach only the main thread; in other threads the
    context manager has no effect.

    Args:
        on_request: called once, with the number of the signal, in the main thread.

    >>> import os
    >>> with Stop() as stop:
    ...     os.kill(os.getpid(), SIGTERM)
    ...     stop.signal
    15
    """

    on_request: Callable[[int], None] = lambda number: None
    signal: int | None = field(default=None, init=False)
    _requested: bool = field(default=False, init=False)
    _before: dict[Signals, Any] = field(default_factory=dict, init=False)

    @property
    def requested(self) -> bool:
        """Whether a signal was received, or :meth:`request` was called."""
        return self.signal is not None or self._requested

    def request(self) -> None:
        """Request the stop without a signal; thread-safe."""
        self._requested = True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (SIGINT, SIGTERM):
                self._before[number] = set_signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            number, handler = self._before.popitem()
            set_signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            self.on_request(number)
        elif number == SIGINT:
            raise KeyboardInterrupt


@cache
def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    return trace.get_tracer("ecomfs")


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A span ``ecomfs.<name>`` for OpenTelemetry around a block, where its API is installed
    (``ecomfs[otel]``); a child of the current span. It is exported only if the program, or
    ``opentelemetry-instrument ecomfs score …``, sets an exporter up.

    >>> with span("read", rows=16):
    ...     pass
    """
    tracer = _tracer()
    if tracer is None:
        return nullcontext()
    named = {f"ecomfs.{key}": value for key, value in attributes.items()}
    found: AbstractContextManager[Any] = tracer.start_as_current_span(
        f"ecomfs.{name}", attributes=named
    )
    return found


_Blocks = asyncio.Queue[RowBlock | None]
_Prepared = asyncio.Queue[tuple[RowBlock, Sequence[Any]] | None]


class SupportsStop(Protocol):
    """An object that can ask a runner to stop, such as :class:`Stop`."""

    @property
    def requested(self) -> bool:
        """Whether no further row must be started."""


class BlockSource(Protocol):
    """A source of rows for a runner, such as :class:`ecomfs.batch.feed.Feed`."""

    def next(self, size: int) -> RowBlock | None:
        """The next rows; ``None`` at the end."""

    def forget(self, keys: Iterable[bytes]) -> None:
        """Note that the predictions of these keys are stored."""


class AnswerStore(Protocol):
    """A store for predictions, such as :class:`ecomfs.batch.journal.Journal`."""

    through: int

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """Store predictions, and the position before which all rows are done (``through``)."""


class Runner:
    """Classifies all rows of a feed and stores the predictions in the journal.

    Args:
        block_rows: most rows per call of the engine (plus or minus a chunk of the reader).
        stages: keep the distribution after each step of a prediction.
        on_progress: called on the event loop after every commit, and at the end of the feed.
    """

    def __init__(
        self,
        pipeline: Pipeline | PipelineLike,
        feed: BlockSource,
        journal: AnswerStore,
        tally: Tally,
        stop: SupportsStop,
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
        self._in_flight = 0
        self._reading_since = 0.0
        self._reading_seconds = 0.0
        self._hits = _cache_counts(pipeline)

    async def run(self) -> None:
        """Run until the input ends or a stop is requested. After a stop, rows in flight are
        finished and stored, and no further rows are read.

        Raises:
            EngineError: the engine is unavailable; finished predictions are stored.
            InputError, OutputError: the input cannot be read, or the journal not be written.
        """
        read: _Blocks = asyncio.Queue(1)
        prepared: _Prepared = asyncio.Queue(1)
        # Backpressure if the disk is slower than the engine.
        finished: _Blocks = asyncio.Queue(self._at_once)
        async with (
            _thread("ecomfs-rows") as rows,
            _thread("ecomfs-prompts") as prompts,
            _thread("ecomfs-journal") as disk,
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
                # Also after a failure: store the predictions that exist.
                end = asyncio.ensure_future(finished.put(None))
                await asyncio.wait([end, storing], return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    await asyncio.wait([storing])
                end.cancel()

    async def _read(self, out: _Blocks, thread: ThreadPoolExecutor) -> None:
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
        blocks: _Blocks,
        out: _Prepared,
        thread: ThreadPoolExecutor,
    ) -> None:
        loop = asyncio.get_running_loop()
        while (block := await blocks.get()) is not None:
            values = [asked.values for asked in block.asked]
            ids = [str(asked.position) for asked in block.asked]
            cases: Sequence[Any] = []
            if values and not self._stop.requested:
                with span("prepare", rows=len(values)):
                    cases = await loop.run_in_executor(thread, self._pipeline.prepare, values, ids)
            await out.put((block, cases))
        await out.put(None)

    async def _ask_all(
        self,
        prepared: _Prepared,
        out: _Blocks,
    ) -> None:
        slots = asyncio.Semaphore(self._at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()  # before a block is taken from the queue
                item = await prepared.get()
                if item is None:
                    break
                if self._stop.requested:
                    slots.release()
                    continue  # not started: the next run classifies it
                group.create_task(self._ask(*item, slots, out))
        await out.put(None)

    async def _ask(
        self,
        block: RowBlock,
        cases: Sequence[Any],
        slots: asyncio.Semaphore,
        out: _Blocks,
    ) -> None:
        try:
            if cases:
                started = time.monotonic()
                if not self._in_flight:
                    self._reading_since = started
                self._in_flight += 1
                try:
                    with span("read", rows=len(cases)):
                        answered = await self._pipeline.answer(cases)
                finally:
                    now = time.monotonic()
                    self._in_flight -= 1
                    if not self._in_flight:
                        self._reading_seconds += now - self._reading_since
                _require_engine([posterior for _, posterior, _ in answered])
                block.predictions = [prediction for _, _, prediction in answered]
                fitting = len(cases) * BLOCK_SECONDS / max(now - started, 1e-3)
                self._size = int(min(self._most, 2 * self._size, max(_SMALLEST, fitting)))
            await out.put(block)
        finally:
            slots.release()

    async def _store(self, finished: _Blocks, thread: ThreadPoolExecutor) -> None:
        """Store finished blocks; all that finish during one transaction go into the next."""
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

    def _commit(self, done: Sequence[RowBlock]) -> None:
        names = self._pipeline.space.names
        entries = []
        for block in done:
            for asked, prediction in zip(block.asked, block.predictions, strict=True):
                packed = pack(prediction, names, stages=self._stages)
                entries.append(Entry(asked.position, asked.key, *packed))
            self._mark.add(block)
        self._journal.commit(entries, self._mark.through, **self._mark.known)
        self._feed.forget(entry.key for entry in entries)

    def _count(self, done: Sequence[RowBlock]) -> None:
        tally = self._tally
        for block in done:
            for prediction in block.predictions:
                tally.add(prediction)
            tally.add_block(block, len(block.predictions))
        now = time.monotonic()
        tally.seconds = now - self._started
        tally.reading_seconds = self._reading_seconds
        if self._in_flight:
            tally.reading_seconds += now - self._reading_since
        hits, tokens = _cache_counts(self._pipeline)
        remembered = hits - self._hits[0]
        answers = sum(p.prompt_tokens > 0 for block in done for p in block.predictions)
        tally.read += answers - (remembered - tally.remembered)
        tally.remembered = remembered
        # A reading from the reading cache reports all its tokens as cached, but none was sent.
        spared = tokens - self._hits[1]
        self._hits = (self._hits[0], tokens)
        tally.prompt_tokens -= spared
        tally.cached_tokens -= spared
        for block in done:  # the watermark handles blocks that finish out of order
            block.asked, block.predictions = [], []


@asynccontextmanager
async def _thread(name: str) -> AsyncIterator[ThreadPoolExecutor]:
    """A thread that ends with the block."""
    pool = ThreadPoolExecutor(1, name)
    try:
        yield pool
    finally:
        # Its work may wait for this event loop, for example to call a server's tokenizer.
        await asyncio.to_thread(pool.shutdown)


async def _ends_with(storing: asyncio.Task[None]) -> None:
    """Wait for the end of the storing stage; cancelling this does not cancel it."""
    await asyncio.wait([storing])
    if (error := storing.exception()) is not None:
        raise error


def _require_engine(found: Sequence[object]) -> None:
    """Raise if no row of a block could be read, and the cause may be temporary."""
    errors = [e for e in found if isinstance(e, EngineError) and e.retryable]
    if len(found) >= _GONE and len(errors) == len(found):
        raise errors[0]


def _cache_counts(pipeline: Pipeline | PipelineLike) -> tuple[int, int]:
    """Number of readings from the reading cache so far, and of their tokens."""
    engine = pipeline.engine
    return (engine.hits, engine.hit_tokens) if isinstance(engine, CachedEngine) else (0, 0)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception of nested groups; the others are its consequences."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class RowScorer(Protocol):
    """Classifies all rows of a table, in this process (:class:`LocalScorer`) or on a cluster
    (:class:`ecomfs.batch.ray.runner.RayScorer`).

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> scorer: RowScorer = LocalScorer(pipeline)
    >>> scorer.card.name, scorer.space.names
    ('review_sentiment', ('positive', 'negative'))
    """

    @property
    def card(self) -> TaskCard:
        """The task."""

    @property
    def space(self) -> LabelSpace:
        """The labels."""

    @property
    def identity(self) -> Identity:
        """Everything that determines the predictions (:func:`ecomfs.batch.pipeline_identity`)."""

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
        """Store a prediction for every row, until the feed ends or a stop is requested.

        Parameters
        ----------
        feed, journal, tally, stop, block_rows, stages, on_progress
            As in :class:`ecomfs.batch.runner.Runner`.
        """


class LocalScorer:
    """A :class:`RowScorer` with a pipeline in this process."""

    def __init__(self, pipeline: Pipeline | PipelineLike) -> None:
        self._pipeline = pipeline
        self.card = pipeline.card
        self.space = pipeline.space
        self.identity = identity_of(pipeline)

    def answer(self, *arguments: Any, **options: Any) -> None:
        """See :meth:`RowScorer.answer`."""
        event_loop.run(Runner(self._pipeline, *arguments, **options).run())
