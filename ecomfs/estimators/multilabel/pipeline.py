"""The pipeline of a multi-label task: demonstrations, one prompt per label, readings, labels.

All labels of all rows are read in one batch. The prompts of a row are adjacent and equal up to
their last line, so an engine with a prefix cache computes the row once.
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
from ecomfs.estimators.multilabel.prompts import YES, YES_NO, LabelPrompts, cover_labels
from ecomfs.experts import NEIGHBOURS
from ecomfs.features import RowText
from ecomfs.pipeline import (
    Pipeline,
    PlannedRow,
    RowState,
    answer_tokens,
    gives_logprobs,
    known_prompts,
)
from ecomfs.pool import sample_queries
from ecomfs.readout import AnswerFormat, LogprobReadout, Readout, Verbalizer, chain
from ecomfs.retrieve import Retriever
from ecomfs.screen import Screen, Screened
from ecomfs.task import MultiLabelSpace, TaskCard, join_labels
from ecomfs.types import Demonstration, Language, Posterior, Prediction, Prompt, Row, Status, floats

REACH = 1024
"""Number of nearest examples from which demonstrations are chosen."""
PROMPTS = 4096
"""Most prompts in memory; larger inputs are read in parts."""


@dataclass(frozen=True, slots=True)
class YesNoSetup:
    """Prompts, read-outs and calibration of one language.

    Attributes:
        builders: one prompt builder per label.
        readouts: read-outs, each with the positions of the labels it reads. There is only one,
            unless yes and no are tokenized differently after some labels.
        calibration: calibration of yes and no, shared by all labels; ``None``: uncalibrated.
    """

    builders: tuple[LabelPrompts, ...]
    readouts: tuple[tuple[Readout, tuple[int, ...]], ...]
    calibration: Calibration | None = None

    @classmethod
    def of(cls, builders: Sequence[LabelPrompts], engine: Engine) -> YesNoSetup:
        """The setup with the read-outs that an engine supports."""
        verbalizer = Verbalizer("words", builders[0].answers)
        tokenizer = engine.tokenizer
        if tokenizer is None or not gives_logprobs(engine):
            every = tuple(range(len(builders)))
            wording = AnswerFormat(YES_NO, verbalizer, builders[0].cue(), builders[0].separator())
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
        """The calibrated probabilities of no and yes of one reading."""
        p = found.probabilities
        return p if self.calibration is None else floats(self.calibration.apply(p))


@dataclass(frozen=True, slots=True)
class RowPrompts:
    """One row: a prompt for every label, or the error; and the neighbours' probability of each
    label, if they vote.

    Attributes:
        nearest: the examples that vote, if there is no model.
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
        """The demonstrations in the prompts; without a model, the examples that vote."""
        return tuple(self.prompts[0].demonstrations) if self.prompts else self.nearest


LabelReadings = tuple[Posterior | EcomfsError, ...]
"""The readings of one row, one per label; empty if the row has no prompts."""


@dataclass(frozen=True, slots=True)
class MultiLabelPipeline:
    """The pipeline of a multi-label classifier.

    Attributes:
        space: the labels.
        rows: renders rows as text.
        retriever: ``None`` for zero-shot.
        sets: labels of the retriever's examples, by position.
        k: demonstrations per prompt.
        budget: most tokens per prompt.
        setups: language → setup.
        language: fixed language, or ``None`` for the language of each row.
        votes: whether the neighbours vote too.
        blend: weights of model and neighbours; ``None``: the model alone.
        screen: removes imitations of a prompt from rows; ``None``: rows are read unchanged.
        thresholds: label → least probability with which a row gets it.
        accept_from: confidence below which a row abstains; ``None``: no row abstains.
        facts: everything that determines the predictions.
    """

    card: TaskCard
    space: MultiLabelSpace
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
        """Empty: there are no nested pipelines."""
        return {}

    @property
    def has_model(self) -> bool:
        """Whether a model reads the labels; if not, the neighbours' vote is the answer."""
        return has_model(self.engine)

    def text(self, row: Row) -> str:
        """A row as the retriever sees it."""
        return self.rows.render(row, "en")

    def prepare(self, rows: Sequence[Row], ids: Sequence[str]) -> list[tuple[Row, str]]:
        """Rows with their ids; prompts are made later, when the rows are read."""
        return list(zip(rows, ids, strict=True))

    async def answer(
        self, states: Sequence[tuple[Row, str]]
    ) -> list[tuple[RowState, object, Prediction]]:
        """For each row: its state, the reading of its first label (or the error of a label), and
        its prediction."""
        rows, ids = [row for row, _ in states], [id_ for _, id_ in states]
        out: list[tuple[RowState, object, Prediction]] = []
        for asked, read in await self.read(rows, ids):
            error = next((each for each in read if isinstance(each, EcomfsError)), None)
            reading = error or (read[0] if read else None)
            first = asked.prompts[0] if asked.prompts else None
            state = RowState(asked.id, asked.language, asked.shown, first, asked.error)
            out.append((state, reading, self.decided(self.prediction(asked, read))))
        return out

    async def planned_rows(self, rows: Sequence[Row], ids: Sequence[str]) -> list[PlannedRow]:
        """The readings that each row would need: one per label."""
        asked = await asyncio.to_thread(self.prompts, rows, ids)
        return [
            replace(ask, state=(row, id_))
            for row, id_, ask in zip(rows, ids, await self._planned_rows(asked), strict=True)
        ]

    async def planned_fit(
        self, readings: int, seed: int, *, uniform: bool = False
    ) -> list[PlannedRow]:
        """The readings that a fit would need; examples are always drawn uniformly."""
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
        return await self._planned_rows([row for row in asked if row.prompts])

    async def read(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[tuple[RowPrompts, LabelReadings]]:
        """Read every label of every row. A row that fails affects no other row; only an engine
        that is unavailable raises.

        Args:
            exclude_ids: for each row, ids of examples that its prompts must not show.
            leave_self_out: rows come from the pool; a row's prompts must not show a copy of it.
        """
        step = max(1, PROMPTS // len(self.space))
        out: list[tuple[RowPrompts, LabelReadings]] = []
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            # Embedding and rendering take CPU time, so they run outside the event loop.
            asked = await asyncio.to_thread(
                self.prompts,
                rows[part],
                ids[part],
                None if exclude_ids is None else exclude_ids[part],
                leave_self_out,
            )
            out += zip(asked, await self._read(asked), strict=True)
        return out

    async def _planned_rows(self, asked: Sequence[RowPrompts]) -> list[PlannedRow]:
        """The readings that prepared rows would need: one per label."""
        found = [
            PlannedRow(row.id, alone=not self.has_model and row.error is None) for row in asked
        ]
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
                        PlannedRow(None, remembered=1)
                        if there
                        else PlannedRow(None, (prompt,), answer_tokens=tokens)
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
        """Choose demonstrations and build the prompts, without calling the engine."""
        screened = [self.screen.screened(row) if self.screen else Screened(row) for row in rows]
        rows = [one.row for one in screened]
        texts = [self.rows.search_text(row) for row in rows]
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
                    chosen = cover_labels(list(alike), self.sets, len(self.space), self.k)
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

    def probabilities(
        self, language: Language, found: Sequence[Posterior], votes: Sequence[float]
    ) -> list[float]:
        """The probability of yes by the model and, with a blend, the neighbours.

        Args:
            found: readings of yes and no, from prompts of one language.
            votes: the neighbours' probability of yes, one per reading; empty if they do not vote.
        """
        model = [self.setups[language].calibrated(posterior) for posterior in found]
        if self.blend is None or not votes:
            return [p[YES] for p in model]
        both: list[float] = self.blend.apply(evidence(model, votes))[:, YES].tolist()
        return both

    def prediction(self, asked: RowPrompts, read: LabelReadings) -> Prediction:
        """The prediction of a row. If one label cannot be read, the row fails. The label mass is
        the smallest of all labels; tokens are summed over all prompts."""
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
        return self._labelled(base, self.probabilities(asked.language, good, asked.votes))

    def _labelled(self, base: Prediction, probabilities: Sequence[float]) -> Prediction:
        """The prediction with the labels whose probability reaches their threshold."""
        p = dict(zip(self.space.names, probabilities, strict=True))
        given = tuple(name for name in p if p[name] >= self.thresholds[name])
        source = "experts"
        if self.has_model:
            source = "model" if self.blend is None else "fused"
        return replace(
            base,
            label=join_labels(given, self.space.separator),
            labels=given,
            probabilities=p,
            status=Status.OK,
            source=source,
        )

    def decided(self, found: Prediction) -> Prediction:
        """The prediction; abstained if its confidence is below the guarantee's threshold."""
        sure = self.accept_from is None or (found.confidence or 0.0) >= self.accept_from
        return found if found.label is None or sure else found.abstained()


def _note(prompts: tuple[Prompt, ...]) -> str:
    """A note on what was left out of the prompt that lost most."""
    parts = []
    if dropped := max(p.dropped for p in prompts):
        parts.append(f"{dropped} demonstrations left out to fit the context")
    if cut := max(p.cut for p in prompts):
        parts.append(f"the last {cut} characters of the text left out to fit the context")
    return "; ".join(parts)


__all__ = ["LabelReadings", "MultiLabelPipeline", "RowPrompts", "YesNoSetup"]
