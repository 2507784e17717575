"""Who answers the rows of a table: this process, or others (:mod:`ecomfs.batch.ray.runner`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ecomfs.batch.feed import Feed
from ecomfs.batch.identity import Identity, pipeline_identity
from ecomfs.batch.journal import Journal
from ecomfs.batch.runner import Runner
from ecomfs.batch.stop import Stop
from ecomfs.batch.tally import Tally
from ecomfs.core import event_loop
from ecomfs.pipeline import Pipeline
from ecomfs.task import LabelSpace, TaskCard


class Answerer(Protocol):
    """Answers all rows of a feed into a journal."""

    @property
    def card(self) -> TaskCard:
        """The task."""

    @property
    def space(self) -> LabelSpace:
        """The labels."""

    @property
    def identity(self) -> Identity:
        """What decides its answers (:func:`ecomfs.batch.identity.pipeline_identity`)."""

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
        """Until the feed ends, or a stop is requested. Arguments as of
        :class:`ecomfs.batch.runner.Runner`."""


@dataclass(frozen=True, slots=True)
class Here:
    """This process answers, with a pipeline of its own."""

    pipeline: Pipeline

    @property
    def card(self) -> TaskCard:
        return self.pipeline.card

    @property
    def space(self) -> LabelSpace:
        return self.pipeline.space

    @property
    def identity(self) -> Identity:
        return pipeline_identity(self.pipeline)

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
        runner = Runner(
            self.pipeline, feed, journal, tally, stop, block_rows=block_rows, stages=stages,
            on_progress=on_progress,
        )  # fmt: skip
        event_loop.run(runner.run())
