"""Asking all variants the same rows, in an order that favours none.

Rows come in seeded random order, and for every few rows the variants take turns in a new random
order: what drifts while a comparison runs (a server that warms up, a pool of connections, a cache
that fills) falls on all alike. Readings that the cache holds are not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ecomfs import aio
from ecomfs.batch.harness import at_stage, to_harness
from ecomfs.batch.score import Tally
from ecomfs.compare.rows import TestRows
from ecomfs.pipeline import Case, Pipeline
from ecomfs.progress import Progress, silent
from ecomfs.task import label_order
from ecomfs.types import Prediction
from ecomfs_eval import Predictions
from ecomfs_eval.compare import by_length

CHUNK = 64
"""Rows after which the variants' turn changes."""


class Answers:
    """What the variants answered so far.

    Args:
        test: the rows.
        pipelines: name → how a variant is asked.
        seed: of the order of rows and turns.
        progress: told after each turn.
    """

    def __init__(
        self,
        test: TestRows,
        pipelines: Mapping[str, Pipeline],
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        self._test = test
        self._pipelines = dict(pipelines)
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(test))
        self._found: dict[str, dict[int, tuple[Case, Prediction]]] = {n: {} for n in pipelines}
        self._report = progress
        self.tally = Tally()
        self.asked = 0

    @property
    def done(self) -> bool:
        """Every row was asked."""
        return self.asked == len(self._test)

    def ask(self, rows: int | None = None) -> None:
        """Ask every variant the next rows (all that are left, by default)."""
        self._say()
        end = len(self._test) if rows is None else min(len(self._test), self.asked + rows)
        while self.asked < end:
            part = self._order[self.asked : min(end, self.asked + CHUNK)].tolist()
            names = list(self._pipelines)
            for turn in self._rng.permutation(len(names)).tolist():
                self._turn(names[turn], part)
            self.asked += len(part)

    def _turn(self, name: str, part: Sequence[int]) -> None:
        rows = [self._test.rows[i] for i in part]
        pipeline = self._pipelines[name]
        traced = aio.run(pipeline.trace([r.fields for r in rows], [r.id for r in rows]))
        for i, (case, _, prediction) in zip(part, traced, strict=True):
            self._found[name][i] = (case, prediction)
            self.tally.add(prediction)
        self._say()

    def _say(self) -> None:
        self.tally.total = len(self._test) * len(self._pipelines)
        self.tally.report(self._report)

    def predictions(self) -> list[Predictions]:
        """One system a variant, on the rows asked so far, in the order of the table."""
        return self._systems(lambda prediction: prediction)

    def model_alone(self) -> list[Predictions]:
        """The same systems as their models answered before the experts were heard; none where no
        experts are heard. A row that skipped the model has the answer that it got."""
        sources = {p.source for rows in self._found.values() for _, p in rows.values()}
        return self._systems(_model_alone) if sources & {"fused", "experts"} else []

    def _systems(self, stage: Callable[[Prediction], Prediction]) -> list[Predictions]:
        asked = sorted(self._order[: self.asked].tolist())
        return [self._system(name, asked, stage) for name in self._pipelines]

    def _system(
        self, name: str, asked: Sequence[int], stage: Callable[[Prediction], Prediction]
    ) -> Predictions:
        pipeline = self._pipelines[name]
        rows = [self._test.rows[i] for i in asked]
        cases = [self._found[name][i][0] for i in asked]
        found = [stage(self._found[name][i][1]) for i in asked]
        gold = [row.label for row in rows]
        # A true label that the pipeline cannot answer (a sampled pool may lack it) stays in the
        # comparison: every variant has it wrong.
        names = pipeline.space.names
        labels = [*names, *label_order(set(gold) - set(names))]
        texts = tuple(pipeline.text(row.fields) for row in rows)
        return to_harness(
            found,
            gold,
            labels,
            ids=[row.id for row in rows],
            positive=_positive(pipeline),
            slices=self._slices(asked, [case.language for case in cases], texts),
            extra={
                "text": texts,
                "prompt": tuple(case.prompt.text if case.prompt else "" for case in cases),
                "error": tuple(p.error for p in found),
            },
            name=name,
        )

    def _slices(
        self, asked: Sequence[int], languages: Sequence[str], texts: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        slices: dict[str, tuple[str, ...]] = {}
        if len(set(languages)) > 1:
            slices["language"] = tuple(languages)
        for column, values in self._test.slices.items():
            slices[column] = tuple(values[i] for i in asked)
        lengths = by_length(texts)
        if lengths is not None:
            slices["text length"] = lengths
        return slices


def _model_alone(prediction: Prediction) -> Prediction:
    return at_stage(prediction, ("calibrated", "read"))


def _positive(pipeline: Pipeline) -> str | None:
    """The card's positive label, where there are two labels and it is one of them."""
    wanted, names = pipeline.card.positive, pipeline.space.names
    if not wanted or len(names) != 2:
        return None
    at = pipeline.space.index(wanted)
    return None if at is None else names[at]
