"""The way of one row of a multi-label task: examples, one prompt a label, readings.

All labels of all rows are read in one batch. The prompts of a row stand side by side and are the
same up to their last line, so that an engine which reuses prefixes computes the row once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ecomfs.calibration import Blend, Calibration
from ecomfs.engine.protocol import Engine, has_model
from ecomfs.errors import EcomfsError
from ecomfs.estimators.multilabel.neighbours import shares, vote
from ecomfs.estimators.multilabel.prompts import YES_NO, LabelPrompts
from ecomfs.estimators.multilabel.select import cover
from ecomfs.experts import NEIGHBOURS
from ecomfs.features import RowText
from ecomfs.pipeline import RowAsk, answer_tokens, known_prompts, scores
from ecomfs.readout import LogprobReadout, Readout, Verbalizer, Wording, chain
from ecomfs.retrieve import Retriever
from ecomfs.screen import Screen, Screened
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Demonstration, Language, Posterior, Prompt, Row

REACH = 1024
"""Nearest examples that demonstrations are chosen from."""
PROMPTS = 4096
"""Prompts held at a time: rows of larger inputs are read in parts."""


@dataclass(frozen=True, slots=True)
class YesNoSetup:
    """How rows of one language are asked about every label.

    Attributes:
        builders: one a label.
        readouts: read-outs, each with the positions of the labels it reads; one for all of them
            unless yes and no have other tokens after some label.
        calibration: of yes and no, for all labels alike; ``None``: as they are read.
    """

    builders: tuple[LabelPrompts, ...]
    readouts: tuple[tuple[Readout, tuple[int, ...]], ...]
    calibration: Calibration | None = None

    @classmethod
    def of(cls, builders: Sequence[LabelPrompts], engine: Engine) -> YesNoSetup:
        """The read-outs that an engine allows."""
        verbalizer = Verbalizer("words", builders[0].answers)
        tokenizer = engine.tokenizer
        if tokenizer is None or not scores(engine):
            every = tuple(range(len(builders)))
            wording = Wording(YES_NO, verbalizer, builders[0].cue(), builders[0].separator())
            words = [step for step in chain.steps(engine) if step.kind == "words"]
            return cls(tuple(builders), ((words[0].readout.of(wording, engine), every),))
        separator = builders[0].separator()
        found: list[tuple[LogprobReadout, list[int]]] = []
        for place, builder in enumerate(builders):
            readout = LogprobReadout(verbalizer, tokenizer, builder.cue(), separator)
            for known, places in found:
                if known.questions == readout.questions:
                    places.append(place)
                    break
            else:
                found.append((readout, [place]))
        return cls(tuple(builders), tuple((readout, tuple(places)) for readout, places in found))


@dataclass(frozen=True, slots=True)
class RowPrompts:
    """One row: a prompt for every label, or why there is none; and the neighbours' probability
    of each label, where they are asked.

    Attributes:
        nearest: the examples that vote, where no model is asked.
    """

    id: str
    language: Language
    prompts: tuple[Prompt, ...] = ()
    error: EcomfsError | None = None
    votes: tuple[float, ...] = ()
    nearest: tuple[Demonstration, ...] = ()
    suspicious: tuple[str, ...] = ()


LabelReadings = tuple[Posterior | EcomfsError, ...]
"""What is read of one row, a label each; empty where it could not be asked."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Everything decided for one run.

    Attributes:
        labels: the label space.
        rows: puts rows into words.
        retriever: ``None`` for zero-shot.
        sets: labels of the retriever's examples, by position.
        k: examples that a row's prompts show.
        budget: most prompt tokens.
        setups: by language.
        language: fixed language, or ``None`` to follow each row's own.
        votes: whether the neighbours are asked too.
        blend: how model and neighbours answer together; ``None``: the model alone.
        screen: cuts out of rows what imitates a prompt; ``None``: rows are read as they are.
    """

    card: TaskCard
    labels: LabelSpace
    engine: Engine
    rows: RowText
    retriever: Retriever | None
    sets: tuple[frozenset[int], ...]
    k: int
    budget: int
    setups: dict[Language, YesNoSetup]
    language: Language | None = None
    votes: bool = True
    blend: Blend | None = None
    screen: Screen | None = None

    @property
    def has_model(self) -> bool:
        """Whether labels are read by a model; without one the neighbours answer alone."""
        return has_model(self.engine)

    async def read(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[tuple[RowPrompts, LabelReadings]]:
        """Read every label of every row. A row's failure is that row's; only an engine that is
        gone altogether raises.

        Args:
            exclude_ids: for each row, ids of examples that may not be shown.
            leave_self_out: rows come from the pool; no copy of a row may stand in its prompts.
        """
        step = max(1, PROMPTS // len(self.labels))
        out: list[tuple[RowPrompts, LabelReadings]] = []
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            # Embedding and rendering are work of the CPU: the event loop stays free for others.
            asked = await asyncio.to_thread(
                self.prepare,
                rows[part],
                ids[part],
                None if exclude_ids is None else exclude_ids[part],
                leave_self_out,
            )
            out += zip(asked, await self._read(asked), strict=True)
        return out

    async def asks(self, asked: Sequence[RowPrompts]) -> list[RowAsk]:
        """What prepared rows would put to the model, one each: a prompt for every label."""
        found = [RowAsk(row.id, alone=not self.has_model and row.error is None) for row in asked]
        for language, setup in self.setups.items():
            for readout, labels in setup.readouts:
                tokens = answer_tokens(readout)
                cells = [
                    (place, row.prompts[label])
                    for place, row in enumerate(asked)
                    if row.language == language and row.prompts
                    for label in labels
                ]
                prompts = [prompt for _, prompt in cells]
                known = await known_prompts(self.engine, readout, prompts, [()] * len(prompts))
                for (place, prompt), there in zip(cells, known, strict=True):
                    more = (
                        RowAsk(None, remembered=1)
                        if there
                        else RowAsk(None, (prompt,), answer_tokens=tokens)
                    )
                    found[place] = found[place].and_then(more)
        return found

    def prepare(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[RowPrompts]:
        """Find examples and write the prompts, without asking the engine."""
        screened = [self.screen.screened(row) if self.screen else Screened(row) for row in rows]
        rows = [one.row for one in screened]
        texts = [self.rows.searched(row) for row in rows]
        good = [place for place, text in enumerate(texts) if isinstance(text, str)]
        shown: dict[int, list[Demonstration]] = {place: [] for place in good}
        votes: dict[int, tuple[float, ...]] = {}
        if self.retriever is not None and (self.k or self.votes) and good:
            base, scale = shares(self.sets, len(self.labels)), self.retriever.similarity_scale
            hits = self.retriever.neighbours(
                [text for text in texts if isinstance(text, str)],
                min(len(self.retriever), REACH),
                rows=[rows[place] for place in good],
                exclude_ids=None if exclude_ids is None else [exclude_ids[i] for i in good],
                leave_self_out=leave_self_out,
            )
            for place, hit in zip(good, hits, strict=True):
                if self.votes:
                    votes[place] = vote(hit, self.sets, base, scale)
                alike = dict(zip(hit.positions.tolist(), hit.similarities.tolist(), strict=True))
                if self.has_model:
                    chosen = cover(list(alike), self.sets, len(self.labels), self.k)
                else:
                    chosen = list(alike)[:NEIGHBOURS]
                shown[place] = [
                    Demonstration(self.retriever.examples[p], self.retriever.texts[p], alike[p])
                    for p in reversed(chosen)  # the most similar one stands next to the row
                ]
        out = []
        for place, (row, id_, text) in enumerate(zip(rows, ids, texts, strict=True)):
            language = self.language or self.rows.language(row)
            found = screened[place].reasons
            asked = RowPrompts(id_, language, votes=votes.get(place, ()), suspicious=found)
            if isinstance(text, EcomfsError):
                out.append(RowPrompts(id_, language, error=text, suspicious=found))
            else:
                out.append(self._prompted(asked, row, shown[place]))
        return out

    def _prompted(self, asked: RowPrompts, row: Row, shown: Sequence[Demonstration]) -> RowPrompts:
        if not self.has_model:
            return replace(asked, nearest=tuple(shown))
        tokenizer = self.engine.tokenizer
        try:
            prompts = [
                builder.build(
                    row,
                    shown,
                    encode=None if tokenizer is None else lambda t: tokenizer.encode(t, bos=True),
                    budget=self.budget,
                )
                for builder in self.setups[asked.language].builders
            ]
        except EcomfsError as error:
            return replace(asked, error=error, votes=())
        return replace(asked, prompts=tuple(prompts))

    async def _read(self, asked: Sequence[RowPrompts]) -> list[LabelReadings]:
        found: list[dict[int, Posterior | EcomfsError]] = [{} for _ in asked]

        async def read(language: Language, readout: Readout, labels: Sequence[int]) -> None:
            cells = [
                (place, label)
                for place, row in enumerate(asked)
                if row.language == language and row.prompts
                for label in labels
            ]
            if not cells:
                return
            prompts = [asked[place].prompts[label] for place, label in cells]
            for (place, label), posterior in zip(
                cells, await readout.read(self.engine, prompts), strict=True
            ):
                found[place][label] = posterior

        await asyncio.gather(
            *(
                read(language, readout, labels)
                for language, setup in self.setups.items()
                for readout, labels in setup.readouts
            )
        )
        return [tuple(row[label] for label in sorted(row)) for row in found]


__all__ = ["LabelReadings", "Reader", "RowPrompts", "YesNoSetup"]
