"""A fitted multi-label classifier as what answers the rows of tables and requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ecomfs.engine.protocol import Engine
from ecomfs.errors import EcomfsError
from ecomfs.estimators.multilabel.prediction import MultiLabelPrediction, answer
from ecomfs.estimators.multilabel.reader import Reader
from ecomfs.pipeline import Pipeline, RowAsk, RowState
from ecomfs.pool import sample_queries
from ecomfs.retrieve import Retriever
from ecomfs.task import CellSpace, TaskCard, one_cell
from ecomfs.task.cells import SEPARATOR
from ecomfs.types import Language, Prediction, Row, Status


@dataclass(frozen=True, slots=True)
class MultiLabelRows:
    """A fitted reader with its thresholds, for rows of tables and requests.

    Attributes:
        thresholds: label → probability from which on it is given.
        accept_from: confidence below which a row abstains; ``None``: none does.
        facts: what decides the answers.
    """

    reader: Reader
    thresholds: Mapping[str, float]
    accept_from: float | None
    facts: Mapping[str, Any]
    pool_version: int = 0

    @property
    def card(self) -> TaskCard:
        """The task."""
        return self.reader.card

    @property
    def space(self) -> CellSpace:
        """The labels."""
        return CellSpace(self.reader.labels.labels, self.separator)

    @property
    def separator(self) -> str:
        """What stands between the labels of a cell."""
        return self.card.label_separator or SEPARATOR

    @property
    def engine(self) -> Engine:
        """What reads the prompts."""
        return self.reader.engine

    @property
    def k(self) -> int:
        """Demonstrations per prompt."""
        return self.reader.k

    @property
    def language(self) -> Language | None:
        """Of all prompts; ``None``: each row's own."""
        return self.reader.language

    @property
    def retriever(self) -> Retriever | None:
        """Of the examples."""
        return self.reader.retriever

    @property
    def levels(self) -> Mapping[str, Pipeline]:
        """None: all labels are read by themselves."""
        return {}

    @property
    def has_model(self) -> bool:
        """Whether a model is asked; without one the neighbours answer alone."""
        return self.reader.has_model

    @property
    def _source(self) -> str:
        if not self.has_model:
            return "experts"
        return "model" if self.reader.blend is None else "fused"

    def text(self, row: Row) -> str:
        """A row as the retriever sees it."""
        return self.reader.rows.render(row, "en")

    def prepare(self, rows: Sequence[Row], ids: Sequence[str]) -> list[tuple[Row, str]]:
        """Rows with their ids: prompts of all labels are made when they are read."""
        return list(zip(rows, ids, strict=True))

    async def asks(self, rows: Sequence[Row], ids: Sequence[str]) -> list[RowAsk]:
        """What each row would put to the model: a prompt for every label."""
        asked = await asyncio.to_thread(self.reader.prepare, rows, ids)
        return [
            replace(ask, state=(row, id_))
            for row, id_, ask in zip(rows, ids, await self.reader.asks(asked), strict=True)
        ]

    async def fit_asks(self, readings: int, seed: int, *, alike: bool = False) -> list[RowAsk]:
        """What a fit of this many readings would put to the model; examples are always drawn
        alike."""
        retriever = self.retriever
        if retriever is None or not readings or not self.has_model:
            return []
        examples = sample_queries(retriever.examples, readings, seed)
        asked = await asyncio.to_thread(
            self.reader.prepare,
            [e.fields for e in examples],
            [e.id for e in examples],
            [{e.id} for e in examples],
            True,
        )
        return await self.reader.asks([row for row in asked if row.prompts])

    async def answer(
        self, states: Sequence[tuple[Row, str]]
    ) -> list[tuple[RowState, object, Prediction]]:
        """Each row with its state, the reading of its first label or the error of one, and its
        answer."""
        rows, ids = [row for row, _ in states], [id_ for _, id_ in states]
        out: list[tuple[RowState, object, Prediction]] = []
        for asked, read in await self.reader.read(rows, ids):
            error = next((each for each in read if isinstance(each, EcomfsError)), None)
            reading = error or (read[0] if read else None)
            first = asked.prompts[0] if asked.prompts else None
            state = RowState(
                asked.id,
                asked.language,
                asked.nearest if first is None else tuple(first.demonstrations),
                first,
                asked.error,
            )
            found = answer(self.reader, asked, read, self.thresholds)
            out.append((state, reading, self.prediction(found)))
        return out

    def prediction(self, found: MultiLabelPrediction) -> Prediction:
        """The answer in the form that every task has: the labels as one cell, and apart."""
        labels = found.labels
        whole = Prediction(
            found.id,
            None if labels is None else one_cell(labels, self.separator),
            probabilities=found.probabilities,
            status=found.status,
            error=found.error,
            note=found.note,
            label_mass=found.label_mass,
            source="" if labels is None else self._source,
            demonstration_ids=found.demonstration_ids,
            template=found.template,
            engine=found.engine,
            pool_version=self.pool_version,
            prompt_tokens=found.prompt_tokens,
            cached_tokens=found.cached_tokens,
            labels=labels,
            suspicious=found.suspicious,
        )
        sure = self.accept_from is None or (whole.confidence or 0.0) >= self.accept_from
        if labels is None or sure:
            return whole
        note = "; ".join(filter(None, [whole.note, "abstained: needs review"]))
        return replace(whole, label=None, status=Status.ABSTAINED, note=note)


__all__ = ["MultiLabelRows"]
