"""The pipeline of a fitted taxonomy: both levels as one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ecomfs.calibration import MINIMUM, DecisionPolicy, prediction_set
from ecomfs.core.progress import FITTING, Progress, silent
from ecomfs.engine.protocol import Engine
from ecomfs.errors import EcomfsError
from ecomfs.estimators.taxonomy.tree import Branch, beam_of, combine
from ecomfs.experts import NEIGHBOURS
from ecomfs.fit import Guarantees, with_thresholds
from ecomfs.pipeline import Pipeline, PlannedRow, RowState, planned_fit, planned_rows
from ecomfs.retrieve import Retriever
from ecomfs.task import HierarchySpace, TaskCard
from ecomfs.types import Example, Language, Prediction, Row


@dataclass(frozen=True, slots=True)
class TaxonomyPipeline:
    """The pipelines of both levels of a taxonomy.

    Attributes:
        card, space: the task, and the whole labels.
        root: level one; ``None`` if there is only one parent.
        below: position of a parent → the pipeline of its children.
        policy: thresholds of the guarantees for whole labels.
    """

    card: TaskCard
    space: HierarchySpace
    branches: tuple[Branch, ...]
    root: Pipeline | None
    below: Mapping[int, Pipeline]
    beam: int
    pool_version: int = 0
    policy: DecisionPolicy = field(default_factory=DecisionPolicy)

    @property
    def levels(self) -> dict[str, Pipeline]:
        """Name of the parent → pipeline; level one included."""
        named = {self.branches[at].name: pipeline for at, pipeline in self.below.items()}
        return {**({} if self.root is None else {"": self.root}), **named}

    @property
    def first(self) -> Pipeline:
        """Level one, or the only level there is."""
        return next(iter(self.levels.values()))

    @property
    def engine(self) -> Engine:
        """The engine of both levels."""
        return self.first.engine

    @property
    def has_model(self) -> bool:
        """Whether a model reads prompts."""
        return self.first.has_model

    @property
    def k(self) -> int:
        """Demonstrations per prompt."""
        return self.first.k

    @property
    def language(self) -> Language | None:
        """The language of all prompts; ``None``: that of each row."""
        return self.first.language

    @property
    def retriever(self) -> Retriever | None:
        """The retriever of level one."""
        return self.first.retriever

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the predictions besides the levels."""
        return {"beam": self.beam, "shares": [b.shares for b in self.branches], **_of(self.policy)}

    def text(self, row: Row) -> str:
        """A row as the retriever sees it."""
        return self.first.text(row)

    def prepare(self, rows: Sequence[Row], ids: Sequence[str]) -> list[tuple[Row, RowState]]:
        """Demonstrations and prompts of level one."""
        return list(zip(rows, self.first.prepare(rows, ids), strict=True))

    async def answer(
        self, states: Sequence[tuple[Row, RowState]]
    ) -> list[tuple[RowState, object, Prediction]]:
        """For each row: its state at level one, the reading there or its error, and the
        prediction."""
        rows, prepared = [row for row, _ in states], [state for _, state in states]
        found = await self._descend(rows, [s.id for s in prepared], prepared)
        return [
            # The experts of level one have parents as labels, not whole labels.
            (
                replace(state, opinion=None, shortlist=()),
                reading,
                self.decided(replace(whole, id=state.id)),
            )
            for state, (reading, whole) in zip(prepared, found, strict=True)
        ]

    async def planned_rows(self, rows: Sequence[Row], ids: Sequence[str]) -> list[PlannedRow]:
        """The readings that each row would need at both levels; the parents of level two are
        estimated from its nearest examples, because level one is not read."""
        first = await asyncio.to_thread(self.first.prepare, rows, ids)
        out = [
            replace(ask, state=(row, ask.state))
            for row, ask in zip(rows, await planned_rows(self.first, first), strict=True)
        ]
        if self.root is None:
            return out
        beams = await asyncio.to_thread(self._likely_parents, rows)
        for at, pipeline in self.below.items():
            mine = [i for i, ask in enumerate(out) if ask.usable and at in beams[i]]
            states = await asyncio.to_thread(
                pipeline.prepare, [rows[i] for i in mine], [ids[i] for i in mine]
            )
            for i, later in zip(mine, await planned_rows(pipeline, states), strict=True):
                out[i] = out[i].and_then(later)
        return out

    async def planned_fit(
        self, readings: int, seed: int, *, uniform: bool = False
    ) -> list[PlannedRow]:
        """The readings that a fit of both levels would need."""
        out: list[PlannedRow] = []
        for name, pipeline in self.levels.items():
            own = level_readings(readings, len(self.below)) if name else readings
            out += await planned_fit(pipeline, own, seed, uniform=uniform)
        return out

    def _likely_parents(self, rows: Sequence[Row]) -> list[set[int]]:
        """The parents in the beam of each row, estimated from its nearest examples, or from the
        shares in the pool."""
        retriever = self.first.retriever
        if retriever is None:
            return [set() for _ in rows]
        counts = Counter(e.label for e in retriever.examples)
        names = [branch.name for branch in self.branches]
        hits = retriever.neighbours([self.text(row) for row in rows], NEIGHBOURS, rows=rows)
        out = []
        for hit in hits:
            votes = Counter(retriever.examples[p].label for p in hit.positions)
            known = len(retriever.examples)
            p = {n: votes[n] + counts[n] / (known + 1) for n in names}
            out.append(beam_of(Prediction("", None, p), self.branches, self.beam))
        return out

    async def left_out(
        self, examples: Sequence[Example], progress: Progress = silent
    ) -> list[Prediction]:
        """Leave-one-out predictions of examples of the pool."""
        out: list[Prediction] = []
        for start in range(0, len(examples), 16):
            progress(FITTING, start, len(examples))
            part = examples[start : start + 16]
            found = await self._descend(
                [e.fields for e in part], [e.id for e in part], exclude=[{e.id} for e in part]
            )
            out += [whole for _, whole in found]
        return out

    async def _descend(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        prepared: Sequence[RowState] | None = None,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[tuple[object, Prediction]]:
        readings: list[object] = [None] * len(rows)

        async def read(
            pipeline: Pipeline, mine: Sequence[int], states: Sequence[RowState] | None = None
        ) -> dict[int, Prediction]:
            if states is None:
                states = await asyncio.to_thread(
                    pipeline.prepare,
                    [rows[i] for i in mine],
                    [ids[i] for i in mine],
                    exclude_ids=None if exclude is None else [exclude[i] for i in mine],
                    leave_self_out=exclude is not None,
                )
            out = {}
            for row, (_, reading, prediction) in zip(
                mine, await pipeline.answer(states), strict=True
            ):
                out[row] = prediction
                if readings[row] is None or isinstance(reading, EcomfsError):
                    readings[row] = reading
            return out

        every = range(len(rows))
        tops = {} if self.root is None else await read(self.root, every, prepared)
        beams = [beam_of(tops.get(i), self.branches, self.beam) for i in every]
        asked = {at: [i for i in every if at in beams[i]] for at in self.below}
        # With one parent, the children are level one.
        ready = prepared if self.root is None else None
        found = await asyncio.gather(
            *(read(self.below[at], mine, ready) for at, mine in asked.items() if mine)
        )
        below = dict(zip((at for at, mine in asked.items() if mine), found, strict=True))
        out = []
        for i in every:
            own = {at: answers[i] for at, answers in below.items() if i in answers}
            whole = combine(self.branches, tops.get(i), own)
            out.append((readings[i], replace(whole, pool_version=self.pool_version)))
        return out

    def decided(self, whole: Prediction) -> Prediction:
        """The prediction with the guarantees for whole labels applied."""
        policy, names = self.policy, list(whole.probabilities)
        if not names:
            return whole
        p = list(whole.probabilities.values())
        if policy.set_from is not None:
            chosen = tuple(names[i] for i in prediction_set(p, policy.set_from))
            whole = replace(whole, prediction_set=chosen)
        if policy.accept_from is None or max(p) >= policy.accept_from or whole.label is None:
            return whole
        return whole.abstained()

    def guaranteed(
        self,
        answers: Sequence[Prediction],
        examples: Sequence[Example],
        guarantees: Guarantees,
    ) -> tuple[TaxonomyPipeline, dict[str, Any]]:
        """The pipeline with thresholds for whole labels, and what was found.

        Args:
            answers: leave-one-out predictions of the examples.
        """
        names = self.space.names
        kept = [(a, e) for a, e in zip(answers, examples, strict=True) if a.probabilities]
        p = np.array([[a.probabilities[n] for n in names] for a, _ in kept]).reshape(-1, len(names))
        truth = np.array(
            [names.index(self.space.true_label(e.label)) for _, e in kept], dtype=np.int64
        )
        notes: list[str] = []
        policy, accept = with_thresholds(
            DecisionPolicy(), p, truth, (), (), guarantees, notes, "examples"
        )
        found = {"accept": None if accept is None else _of(accept), "notes": notes}
        return replace(self, policy=policy), {**found, "readings": len(kept)}


def level_readings(readings: int, parents: int) -> int:
    """Leave-one-out readings per parent at level two: the parents share them evenly.

    >>> level_readings(48, 3), level_readings(48, 20), level_readings(0, 3)
    (16, 8, 0)
    """
    return readings and max(MINIMUM, readings // max(parents, 1))


def _of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


__all__ = ["TaxonomyPipeline", "level_readings"]
