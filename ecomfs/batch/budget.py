"""Runs with a budget of time or tokens: the model reads the most uncertain rows first.

The experts classify every row, which needs no model call. Rows are grouped into steps by the
experts' confidence, the least confident first, and the table is read once per step. When the budget
is spent, calls in flight are finished, and the experts classify the remaining rows, each with a
note. The journal also stores what was spent, so the same command resumes a run that was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch.feed import Feed, RowBlock
from ecomfs.batch.journal import Entry, Journal
from ecomfs.batch.runner import LocalScorer, Runner, Stop, Tally
from ecomfs.calibration import Evidence
from ecomfs.core import event_loop
from ecomfs.errors import ConfigError
from ecomfs.pipeline import SURE, Pipeline, RowState
from ecomfs.pipeline.pipeline import RowReading
from ecomfs.types import Prediction

STEPS = 16
"""Number of steps. Rows keep their order within a step, so more steps follow the order of
uncertainty more closely, but read the table more often."""
NOT_READ = "not read: the budget was spent"
_SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a run for reading by the model.

    Attributes
    ----------
    seconds : float, optional
        Wall time while rows are read.
    tokens : int, optional
        Prompt tokens that the engine reads; cached readings are free.

    Raises
    ------
    ConfigError
        A number that is not above 0.

    Examples
    --------
    >>> Budget(tokens=10_000).spent(0.0, 9_999), Budget(seconds=1.5).spent(1.5, 0)
    (False, True)
    """

    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("--budget-seconds", self.seconds), ("--budget-tokens", self.tokens)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name} {value}", hint="use more than 0")

    def __bool__(self) -> bool:
        return self.seconds is not None or self.tokens is not None

    def spent(self, seconds: float, tokens: int) -> bool:
        """Whether a limit is reached."""
        return (self.seconds is not None and seconds >= self.seconds) or (
            self.tokens is not None and tokens >= self.tokens
        )


class BudgetScorer(LocalScorer):
    """A :class:`ecomfs.batch.runner.RowScorer` with a budget.

    Parameters
    ----------
    pipeline : Pipeline
        A fitted pipeline with experts and without guarantees.
    budget : Budget
        The budget for one table.

    Raises
    ------
    ConfigError
        The task has several labels per row or a hierarchy, there is no model, there are no
        experts, or a guarantee was fitted on predictions of the model.
    """

    def __init__(self, pipeline: object, budget: Budget) -> None:
        what = "--budget-seconds" if budget.seconds is not None else "--budget-tokens"
        if not isinstance(pipeline, Pipeline):
            raise ConfigError(
                f"{what} needs a task with one label per row, without Ray", hint="leave it out"
            )
        if not pipeline.has_model:
            raise ConfigError(f"{what} has no effect without a model", hint="leave it out")
        policy = pipeline.policy
        if pipeline.experts is None or policy.experts_only is None:
            raise ConfigError(
                f"{what} needs the experts, which classify the rows that are not read",
                hint="give labelled examples, and leave fusion and calibration on",
            )
        if (policy.accept_from, policy.set_from, policy.novel_below) != (None, None, None):
            raise ConfigError(
                f"{what} together with a guarantee, which was fitted on rows that the model read",
                hint="leave out --precision, --coverage and --novel-below, or the budget",
            )
        super().__init__(pipeline)
        self._reads = pipeline
        self._budget = budget

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
        """See :meth:`ecomfs.batch.runner.RowScorer.answer`."""
        alone = _unread(self._reads)
        spending = _Spending(self._budget, journal, tally, stop)
        before = tally.rows
        if not spending.requested:
            with closing(feed.again()) as rows:
                steps = _steps(alone, rows, stop, block_rows)
            spending.begin()
            for step in range(STEPS):
                if spending.requested:
                    break
                with closing(feed.again()) as rows:
                    runner = Runner(
                        self._reads,
                        _StepFeed(rows, steps == step),
                        _StepJournal(journal, spending),
                        tally,
                        spending,
                        # Calls in flight when the budget ends are finished.
                        block_rows=max(1, min(block_rows, self._reads.engine.capabilities.batch)),
                        stages=stages,
                        on_progress=on_progress,
                    )
                    event_loop.run(runner.run())
                tally.total = None
            spending.keep()
        if stop.requested:
            return
        # The last pass over the table counts the rows read before as copies.
        read = tally.rows - before
        tally.rows, copied = before, tally.copied
        event_loop.run(
            Runner(
                alone,
                feed,
                journal,
                tally,
                stop,
                block_rows=block_rows,
                stages=stages,
                on_progress=on_progress,
            ).run()
        )
        tally.copied = max(copied, tally.copied - read)


@dataclass(frozen=True, slots=True)
class _Unread(Pipeline):
    """A pipeline whose experts classify every row; rows that the model would have read get a
    note."""

    skips: Callable[[RowState], bool] = field(default=lambda state: False)

    async def answer(
        self, states: Sequence[RowState]
    ) -> list[tuple[RowState, RowReading, Prediction]]:
        return await Pipeline.answer(self, [self._explained(state) for state in states])

    def _explained(self, state: RowState) -> RowState:
        """The state with the budget as the reason why it was not read, unless it has another."""
        if not state.skipped or state.unread not in ("", SURE) or self.skips(state):
            return state
        return replace(state, unread=NOT_READ)


def _unread(pipeline: Pipeline) -> _Unread:
    def skips(state: RowState) -> bool:
        return state.opinion is not None and pipeline.policy.skips([state.opinion])[0]

    values = {f.name: getattr(pipeline, f.name) for f in fields(pipeline)}
    return _Unread(**values | {"policy": replace(pipeline.policy, skip_from=0.0), "skips": skips})


def _steps(alone: Pipeline, feed: Feed, stop: Stop, block_rows: int) -> NDArray[np.uint8]:
    """The step of each row, by position; rows with an answer have no step."""
    places: list[int] = []
    sure: list[float] = []
    experts_only = alone.policy.experts_only
    while not stop.requested and (block := feed.next(block_rows)) is not None:
        feed.forget(row.key for row in block.asked)
        ids = [str(row.position) for row in block.asked]
        states = alone.prepare([row.values for row in block.asked], ids)
        known = [(n, o) for n, state in enumerate(states) if (o := state.opinion) is not None]
        if experts_only is None or not known:
            continue
        places += [block.asked[n].position for n, _ in known]
        sure += experts_only.apply(Evidence.of([o for _, o in known])).max(axis=1).tolist()
    steps = np.full(max(places, default=-1) + 1, STEPS, dtype=np.uint8)
    order = np.array(places, dtype=np.int64)[np.argsort(sure, kind="stable")]
    steps[order] = np.arange(len(order)) * STEPS // max(1, len(order))
    return steps


class _Spending:
    """Counts what a run has spent, earlier processes included, and stops reading at the limit."""

    def __init__(self, budget: Budget, journal: Journal, tally: Tally, stop: Stop) -> None:
        self._budget = budget
        self._journal = journal
        self._tally = tally
        self._stop = stop
        earlier: tuple[float, int] = journal.get(_SPENT) or (0.0, 0)
        self._seconds, self._tokens = earlier[0], earlier[1] - tally.prompt_tokens
        self._started: float | None = None

    def begin(self) -> None:
        """Start to count time."""
        self._started = time.monotonic()

    def keep(self) -> None:
        """Store the amount spent, for a process that resumes the run."""
        self._journal.commit([], self._journal.through, **{_SPENT: list(self.now)})

    @property
    def now(self) -> tuple[float, int]:
        """Seconds and tokens spent so far."""
        seconds = 0.0 if self._started is None else time.monotonic() - self._started
        return self._seconds + seconds, self._tokens + self._tally.prompt_tokens

    @property
    def requested(self) -> bool:
        """Whether reading must stop."""
        return self._stop.requested or self._budget.spent(*self.now)


class _StepFeed:
    """The rows of a feed that belong to one step."""

    def __init__(self, feed: Feed, chosen: NDArray[np.bool_]) -> None:
        self._feed = feed
        self._chosen = chosen

    def next(self, size: int) -> RowBlock | None:
        """The next block with rows of this step."""
        block = self._feed.next(size)
        if block is None:
            return None
        mine = [r for r in block.asked if r.position < len(self._chosen)]
        mine = [r for r in mine if self._chosen[r.position]]
        kept = {row.key for row in mine}
        self._feed.forget(row.key for row in block.asked if row.key not in kept)
        return replace(
            block, asked=mine, rows=len(mine), copied=0, progress=None, state=None, place=None
        )

    def forget(self, keys: Iterable[bytes]) -> None:
        """See :meth:`Feed.forget`."""
        self._feed.forget(keys)


class _StepJournal:
    """Stores answers and the amount spent, without changing the position up to which rows are
    done."""

    def __init__(self, journal: Journal, spending: _Spending) -> None:
        self._journal = journal
        self._spending = spending
        self.through = journal.through

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """See :meth:`Journal.commit`."""
        self._journal.commit(entries, self._journal.through, **{_SPENT: list(self._spending.now)})


__all__ = ["NOT_READ", "Budget", "BudgetScorer"]
