"""Asking all variants the same rows, in an order that favours none.

Rows come in seeded random order, and for every few rows the variants take turns in a new random
order: what drifts while a comparison runs (a server that warms up, a pool of connections, a cache
that fills) falls on all alike. Readings that the cache holds are not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ecomfs import aio
from ecomfs.batch.score import Tally
from ecomfs.compare.rows import TestRows
from ecomfs.pipeline import Case, Pipeline
from ecomfs.task import label_order
from ecomfs.types import Prediction
from ecomfs_eval import Predictions
from ecomfs_eval.slicing import by_length

CHUNK = 64
"""Rows after which the variants' turn changes."""


class Answers:
    """What the variants answered so far.

    Args:
        test: the rows.
        pipelines: name → how a variant is asked.
        seed: of the order of rows and turns.
        on_progress: called after each turn.
    """

    def __init__(
        self,
        test: TestRows,
        pipelines: Mapping[str, Pipeline],
        *,
        seed: int = 0,
        on_progress: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._test = test
        self._pipelines = dict(pipelines)
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(test))
        self._found: dict[str, dict[int, tuple[Case, Prediction]]] = {n: {} for n in pipelines}
        self._report = on_progress
        self.tally = Tally()
        self.asked = 0

    @property
    def done(self) -> bool:
        """Every row was asked."""
        return self.asked == len(self._test)

    def ask(self, rows: int | None = None) -> None:
        """Ask every variant the next rows (all that are left, by default)."""
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
        self.tally.progress = self.tally.rows / (len(self._test) * len(self._pipelines))
        self._report(self.tally)

    def predictions(self) -> list[Predictions]:
        """One system a variant, on the rows asked so far, in the order of the table."""
        asked = sorted(self._order[: self.asked].tolist())
        return [self._system(name, asked) for name in self._pipelines]

    def _system(self, name: str, asked: Sequence[int]) -> Predictions:
        pipeline = self._pipelines[name]
        rows = [self._test.rows[i] for i in asked]
        cases = [self._found[name][i][0] for i in asked]
        found = [self._found[name][i][1] for i in asked]
        gold = [row.label for row in rows]
        # A true label that the pipeline cannot answer (a sampled pool may lack it) stays in the
        # comparison: every variant has it wrong.
        names = pipeline.space.names
        labels = [*names, *label_order(set(gold) - set(names))]
        texts = tuple(pipeline.text(row.fields) for row in rows)
        prompt_tokens = _counts([p.prompt_tokens for p in found])
        return Predictions.of(
            gold,
            [p.label for p in found],
            [
                [p.probabilities.get(n, 0.0) if p.probabilities else np.nan for n in labels]
                for p in found
            ],
            labels=labels,
            ids=[row.id for row in rows],
            status=[str(p.status) for p in found],
            positive=_positive(pipeline),
            slices=self._slices(asked, [case.language for case in cases], texts),
            extra={
                "text": texts,
                "prompt": tuple(case.prompt.text if case.prompt else "" for case in cases),
                "error": tuple(p.error for p in found),
            },
            prompt_tokens=prompt_tokens,
            cached_tokens=np.where(
                np.isnan(prompt_tokens), np.nan, [float(p.cached_tokens) for p in found]
            ),
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


def _positive(pipeline: Pipeline) -> str | None:
    """The card's positive label, where there are two labels and it is one of them."""
    wanted, names = pipeline.card.positive, pipeline.space.names
    if not wanted or len(names) != 2:
        return None
    at = pipeline.space.index(wanted)
    return None if at is None else names[at]


def _counts(tokens: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Zero means that no prompt was read: unknown, not free."""
    return np.array([float(n) if n else np.nan for n in tokens], dtype=np.float64)
