"""The way of one row of a multi-label task: examples, one prompt a label, readings, labels.

All labels of all rows are read in one batch. The prompts of a row stand side by side and are the
same up to their last line, so that an engine which reuses prefixes computes the row once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ecomfs.calibration import Blend, Calibration
from ecomfs.engine.protocol import Engine, has_model
from ecomfs.errors import EcomfsError
from ecomfs.estimators.multilabel.neighbours import evidence, shares, vote
from ecomfs.estimators.multilabel.prompts import YES, YES_NO, LabelPrompts, cover
from ecomfs.experts import NEIGHBOURS
from ecomfs.features import RowText
from ecomfs.pipeline import Pipeline, RowAsk, RowState, answer_tokens, known_prompts, scores
from ecomfs.pool import sample_queries
from ecomfs.readout import LogprobReadout, Readout, Verbalizer, Wording, chain
from ecomfs.retrieve import Retriever
from ecomfs.screen import Screen, Screened
from ecomfs.task import CellSpace, TaskCard, one_cell
from ecomfs.types import Demonstration, Language, Posterior, Prediction, Prompt, Row, Status, floats

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

    def calibrated(self, found: Posterior) -> tuple[float, ...]:
        """Yes and no of one reading, calibrated."""
        p = found.probabilities
        return p if self.calibration is None else floats(self.calibration.apply(p))


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

    @property
    def shown(self) -> tuple[Demonstration, ...]:
        """The examples in the prompts; without a model those that vote."""
        return tuple(self.prompts[0].demonstrations) if self.prompts else self.nearest


LabelReadings = tuple[Posterior | EcomfsError, ...]
"""What is read of one row, a label each; empty where it could not be asked."""


@dataclass(frozen=True, slots=True)
class MultiLabelRows:
    """A fitted multi-label classifier as what answers the rows of tables and requests.

    Attributes:
        space: the labels.
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
        thresholds: label → probability from which on it is given.
        accept_from: confidence below which a row abstains; ``None``: none does.
        facts: what decides the answers.
    """

    card: TaskCard
    space: CellSpace
    engine: Engine
    rows: RowText
    retriever: Retriever | None
    sets: tuple[frozenset[int], ...]
    k: int
    budget: int
    setups: Mapping[Language, YesNoSetup]
    language: Language | None = None
    votes: bool = True
    blend: Blend | None = None
    screen: Screen | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    accept_from: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    pool_version: int = 0

    @property
    def levels(self) -> Mapping[str, Pipeline]:
        """None: all labels are read by themselves."""
        return {}

    @property
    def has_model(self) -> bool:
        """Whether labels are read by a model; without one the neighbours answer alone."""
        return has_model(self.engine)

    def text(self, row: Row) -> str:
        """A row as the retriever sees it."""
        return self.rows.render(row, "en")

    def prepare(self, rows: Sequence[Row], ids: Sequence[str]) -> list[tuple[Row, str]]:
        """Rows with their ids: prompts of all labels are made when they are read."""
        return list(zip(rows, ids, strict=True))

    async def answer(
        self, states: Sequence[tuple[Row, str]]
    ) -> list[tuple[RowState, object, Prediction]]:
        """Each row with its state, the reading of its first label or the error of one, and its
        answer."""
        rows, ids = [row for row, _ in states], [id_ for _, id_ in states]
        out: list[tuple[RowState, object, Prediction]] = []
        for asked, read in await self.read(rows, ids):
            error = next((each for each in read if isinstance(each, EcomfsError)), None)
            reading = error or (read[0] if read else None)
            first = asked.prompts[0] if asked.prompts else None
            state = RowState(asked.id, asked.language, asked.shown, first, asked.error)
            out.append((state, reading, self.decided(self.prediction(asked, read))))
        return out

    async def asks(self, rows: Sequence[Row], ids: Sequence[str]) -> list[RowAsk]:
        """What each row would put to the model: a prompt for every label."""
        asked = await asyncio.to_thread(self.prompts, rows, ids)
        return [
            replace(ask, state=(row, id_))
            for row, id_, ask in zip(rows, ids, await self._asks(asked), strict=True)
        ]

    async def fit_asks(self, readings: int, seed: int, *, alike: bool = False) -> list[RowAsk]:
        """What a fit of this many readings would put to the model; examples are always drawn
        alike."""
        if self.retriever is None or not readings or not self.has_model:
            return []
        examples = sample_queries(self.retriever.examples, readings, seed)
        asked = await asyncio.to_thread(
            self.prompts,
            [e.fields for e in examples],
            [e.id for e in examples],
            [{e.id} for e in examples],
            True,
        )
        return await self._asks([row for row in asked if row.prompts])

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
        step = max(1, PROMPTS // len(self.space))
        out: list[tuple[RowPrompts, LabelReadings]] = []
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            # Embedding and rendering are work of the CPU: the event loop stays free for others.
            asked = await asyncio.to_thread(
                self.prompts,
                rows[part],
                ids[part],
                None if exclude_ids is None else exclude_ids[part],
                leave_self_out,
            )
            out += zip(asked, await self._read(asked), strict=True)
        return out

    async def _asks(self, asked: Sequence[RowPrompts]) -> list[RowAsk]:
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

    def prompts(
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
            base, scale = shares(self.sets, len(self.space)), self.retriever.similarity_scale
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
                    chosen = cover(list(alike), self.sets, len(self.space), self.k)
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

    def chances(
        self, language: Language, found: Sequence[Posterior], votes: Sequence[float]
    ) -> list[float]:
        """The probability of yes, by the model and, where there is a blend, the neighbours.

        Args:
            found: readings of yes and no, in prompts of one language.
            votes: the neighbours' probability of yes, one a reading; empty: they were not asked.
        """
        model = [self.setups[language].calibrated(posterior) for posterior in found]
        if self.blend is None or not votes:
            return [p[YES] for p in model]
        both: list[float] = self.blend.apply(evidence(model, votes))[:, YES].tolist()
        return both

    def prediction(self, asked: RowPrompts, read: LabelReadings) -> Prediction:
        """The labels of a row that was read. One label that cannot be read fails the row; no row
        abstains. Its label mass is the least of all labels, its tokens are those of all prompts."""
        base = Prediction(
            asked.id,
            None,
            status=Status.FAILED,
            demonstration_ids=tuple(d.example.id for d in asked.nearest),
            engine=self.engine.fingerprint,
            pool_version=self.pool_version,
            suspicious=asked.suspicious,
        )
        if asked.error is not None:
            return replace(base, error=str(asked.error))
        if not self.has_model:
            return self._labelled(base, asked.votes)
        first = asked.prompts[0]
        good = [found for found in read if isinstance(found, Posterior)]
        base = replace(
            base,
            template=first.template,
            demonstration_ids=self.setups[asked.language]
            .builders[0]
            .standing(first.demonstrations),
            note=_note(asked.prompts),
            prompt_tokens=sum(p.prompt_tokens for p in good),
            cached_tokens=sum(p.cached_tokens for p in good),
        )
        for name, found in zip(self.space.names, read, strict=True):
            if isinstance(found, EcomfsError):
                return replace(base, error=f"label {name!r}: {found}")
            if not found.probabilities:
                answer = " ".join((found.raw or "").split())[:80]
                error = f"label {name!r}: the model answered {answer!r}, neither yes nor no"
                if found.raw is None:
                    error = (
                        f"label {name!r}: the model gives yes and no the same probability, near 0"
                    )
                return replace(base, status=Status.INVALID, error=error)
        masses = [found.label_mass for found in good if found.label_mass is not None]
        base = replace(base, label_mass=min(masses, default=None))
        return self._labelled(base, self.chances(asked.language, good, asked.votes))

    def _labelled(self, base: Prediction, chances: Sequence[float]) -> Prediction:
        """With the labels whose probability reaches their threshold."""
        p = dict(zip(self.space.names, chances, strict=True))
        given = tuple(name for name in p if p[name] >= self.thresholds[name])
        source = "experts"
        if self.has_model:
            source = "model" if self.blend is None else "fused"
        return replace(
            base,
            label=one_cell(given, self.space.separator),
            labels=given,
            probabilities=p,
            status=Status.OK,
            source=source,
        )

    def decided(self, found: Prediction) -> Prediction:
        """Abstained, where a guarantee asks for more confidence."""
        sure = self.accept_from is None or (found.confidence or 0.0) >= self.accept_from
        return found if found.label is None or sure else found.abstained()


def _note(prompts: tuple[Prompt, ...]) -> str:
    """What was left out of the prompt that lost most (they differ in the label asked about)."""
    parts = []
    if dropped := max(p.dropped for p in prompts):
        parts.append(f"{dropped} demonstrations left out to fit the context")
    if cut := max(p.cut for p in prompts):
        parts.append(f"the last {cut} characters of the text left out to fit the context")
    return "; ".join(parts)


__all__ = ["LabelReadings", "MultiLabelRows", "RowPrompts", "YesNoSetup"]
