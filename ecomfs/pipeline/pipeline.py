"""The path of one row: fields → text → demonstrations → prompt → reading → prediction.

This is the asynchronous core that the classifiers, the batch scorer and the service share. It keeps
no state between rows; everything is decided when it is built.

A row may be read in several passes (self-consistency, Wang et al. 2022, arXiv:2203.11171, without
reasoning chains): with its demonstrations in other orders and, if labels are codes, with other
codes. The posteriors are averaged, which reduces the effect of the order, at the cost of one
reading per pass.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ecomfs.calibration import Calibration, Decision, DecisionPolicy
from ecomfs.core.options import SuspiciousChoice
from ecomfs.core.progress import READING, Progress, silent
from ecomfs.engine.protocol import Engine, encode_all, has_model
from ecomfs.errors import EcomfsError, RowError
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.features import SEARCH_LANGUAGE, RowText
from ecomfs.pipeline.shortlist import LabelShortlist
from ecomfs.prompt import PromptBuilder, PromptInput
from ecomfs.readout import Readout
from ecomfs.retrieve import DemonstrationLayout, Hits, Queries, Retriever, RowDemonstrations
from ecomfs.screen import Mask, Screen
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import (
    Demonstration,
    Language,
    Opinion,
    Posterior,
    Prediction,
    Prompt,
    Row,
    Status,
)


@dataclass(frozen=True, slots=True)
class LanguageSetup:
    """Prompt builder, read-out and calibration of one language.

    Attributes
    ----------
    builder : PromptBuilder
        Builds the prompts.
    readout : Readout
        Converts answers of the engine to distributions.
    calibration : Calibration, optional
        Calibrates these distributions; ``None``: uncalibrated.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from ecomfs.prompt import Template
    >>> from ecomfs.readout.text import TextReadout
    >>> from ecomfs.readout.verbalizer import Verbalizer
    >>> from ecomfs.task import load_task
    >>> card, words = load_task("review_sentiment"), Verbalizer("words", ("good", "bad"))
    >>> space = LabelSpace.resolve(card, [])
    >>> builder = PromptBuilder(card, space, Template("{{ text }} =", "t"), "en", words.answers)
    >>> setup = LanguageSetup(builder, TextReadout(space, words))
    >>> api = SimpleNamespace(tokenizer=None)  # an engine that counts no tokens
    >>> setup.prompts([PromptInput({"text": "it broke"}, ())], api, budget=None)[0].text
    'it broke ='
    """

    builder: PromptBuilder
    readout: Readout
    calibration: Calibration | None = None

    def prompts(
        self, asked: Sequence[PromptInput], engine: Engine, budget: int | None
    ) -> list[Prompt | EcomfsError]:
        """The prompts of rows for an engine; see :meth:`PromptBuilder.build_all`."""
        tokenizer = engine.tokenizer
        return self.builder.build_all(
            asked,
            encode_all=None
            if tokenizer is None
            else lambda texts: encode_all(tokenizer, texts, bos=self.builder.chat is None),
            budget=budget,
        )


ANSWER_TOKENS = 32
"""Tokens of the context reserved for the answer."""

LanguageSetups = Mapping[Language, LanguageSetup]
RowReading = Posterior | EcomfsError | None
"""The result of reading a row; ``None``: the model was skipped."""
DECIDED = "not read: the model could not change the label"
"""Note for a row whose label no reading could change (:meth:`ecomfs.calibration.Blend.decided`)."""
SURE = "not read: the experts are sure enough"
"""Note for a row whose experts reach the confidence fitted for ``max_loss``."""


@dataclass(slots=True)
class RowState:
    """The state of one row: its prompt, or why it has none. :meth:`Pipeline.prepare` fills it in.

    Attributes:
        id: id of the row.
        language: language of the prompt.
        demonstrations: the demonstrations in the prompt, in prompt order.
        shared: number of leading demonstrations that all rows share.
        prompt: prompt of the first pass; ``None`` if the model does not read the row.
        error: why there is no prompt.
        opinion: the opinion of the experts.
        skipped: whether the model is skipped: the label is decided, the experts are confident
            enough, or there is no model.
        unread: why an existing model is skipped: :data:`DECIDED` or :data:`SURE`.
        nearest: if the model is skipped, the nearest examples, whose labels vote; the nearest
            first.
        shortlist: positions of the labels in the prompt; empty for all.
        extra_passes: prompts of further passes.
        suspicious: findings of the screen.

    >>> RowState("r1", "en", error=RowError("field 'text' is empty")).prompt is None
    True
    """

    id: str
    language: Language
    demonstrations: tuple[Demonstration, ...] = ()
    prompt: Prompt | None = None
    error: EcomfsError | None = None
    opinion: Opinion | None = None
    skipped: bool = False
    unread: str = ""
    nearest: tuple[Demonstration, ...] = ()
    shortlist: tuple[int, ...] = ()
    extra_passes: tuple[Prompt, ...] = ()
    shared: int = 0
    suspicious: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything decided for one run: prompts, engine, read-out, calibration.

    Attributes
    ----------
    card, space, engine : TaskCard, LabelSpace, Engine
        The task, its labels, and the engine.
    setups : dict
        Language → prompt builder, read-out and calibration; empty without a model.
    rows : RowText
        Renders rows as text; fitted on the pool.
    retriever : Retriever, optional
        ``None`` for zero-shot.
    k : int
        Demonstrations per prompt.
    language : str, optional
        Fixed language, or ``None`` for the language of each row.
    budget : int, optional
        Most tokens per prompt.
    pool_version : int
        Version of the examples.
    experts : Experts, optional
        Experts of the pool, if the policy or the shortlist uses them.
    policy : DecisionPolicy
        Converts readings and opinions to predictions.
    label_shortlist : LabelShortlist, optional
        Makes a shortlist of many labels; ``None``: all labels are in the prompt.
    layout : DemonstrationLayout, optional
        Layout of shared and own demonstrations; ``None`` for zero-shot.
    extra_passes : tuple of dict
        Setups of further passes, whose posteriors are averaged with the first.
    seed : int
        Seed of the orders of further passes.
    screen : Screen, optional
        Removes imitations of the prompt from rows; ``None``: rows are read unchanged.
    suspicious : {"flag", "review", "experts"}
        What happens to rows that look like an attack.
    cascade : bool
        Skip the model if it cannot change the label, or if the experts reach the confidence fitted
        for ``max_loss``; ``False``: it reads every row.

    Examples
    --------
    Without a model, the experts answer:

    >>> from ecomfs import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> from ecomfs.core import event_loop
    >>> (found,) = event_loop.run(pipeline.classify([{"text": "it broke"}], ["r1"]))
    >>> found.label, found.source
    ('negative', 'experts')
    >>> (state,) = pipeline.prepare([{"text": "it broke"}], ["r1"])
    >>> state.nearest[0].example.fields["text"], state.prompt  # no prompt: no model is asked
    ('broke at once', None)
    """

    card: TaskCard
    space: LabelSpace
    engine: Engine
    setups: dict[Language, LanguageSetup]
    rows: RowText
    retriever: Retriever | None
    k: int
    language: Language | None = None
    budget: int | None = None
    pool_version: int = 0
    experts: Experts | None = None
    policy: DecisionPolicy = field(default_factory=DecisionPolicy)
    label_shortlist: LabelShortlist | None = None
    layout: DemonstrationLayout | None = None
    extra_passes: tuple[dict[Language, LanguageSetup], ...] = ()
    seed: int = 0
    screen: Screen | None = None
    suspicious: SuspiciousChoice = "flag"
    cascade: bool = True

    @property
    def mask(self) -> Mask | None:
        """The mask for personal data; ``None``: no masking."""
        return None if self.screen is None else self.screen.mask

    @property
    def has_model(self) -> bool:
        """Whether there is a model; without one, the experts classify the rows."""
        return has_model(self.engine)

    @property
    def format(self) -> Literal["completion", "chat"]:
        """The prompt format: one text to complete, or turns of a chat."""
        return "chat" if any(s.builder.chat for s in self.setups.values()) else "completion"

    async def classify(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        progress: Progress = silent,
    ) -> list[Prediction]:
        """One prediction per row, in order. A row that fails affects no other row; only an engine
        that is unavailable raises."""
        found = await self.trace(rows, ids, exclude_ids=exclude_ids, progress=progress)
        return [p for _, _, p in found]

    async def trace(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
        progress: Progress = silent,
    ) -> list[tuple[RowState, Posterior | None, Prediction]]:
        """:meth:`classify` with details: for each row its state, the uncalibrated posterior, and
        the prediction.

        ``leave_self_out``: rows come from the pool, and a prompt must not show a copy of its row.
        ``progress``: called with the number of rows read; rows are then read in parts.
        """
        progress(READING, 0, len(rows))
        # Embedding and rendering take CPU time, so they run outside the event loop.
        states = await asyncio.to_thread(
            self.prepare, rows, ids, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        size = len(states) if progress is silent else 2 * self.engine.capabilities.batch
        answered: list[tuple[RowState, RowReading, Prediction]] = []
        for start in range(0, len(states), max(1, size)):
            answered += await self.answer(states[start : start + size])
            progress(READING, len(answered), len(states))
        return [
            (state, reading if isinstance(reading, Posterior) else None, prediction)
            for state, reading, prediction in answered
        ]

    async def answer(
        self, states: Sequence[RowState]
    ) -> list[tuple[RowState, RowReading, Prediction]]:
        """Read prepared rows; for callers that :meth:`prepare` the next rows in the meantime. For
        each row: its state; its posterior, its error, or ``None`` if the model is skipped; and its
        prediction."""
        readings = await self._read(states)
        predictions = self._predict(states, readings)
        return list(zip(states, readings, predictions, strict=True))

    def screened_row(self, row: Row) -> Row:
        """The row without imitations of the prompt, and with personal data masked."""
        return row if self.screen is None else self.screen.screened(row).row

    def text(self, row: Row) -> str:
        """The text of a row for the retriever; the plain cells if a cell does not fit the kind of
        its field."""
        try:
            return self.rows.render(row, "en")
        except RowError:
            return self.card.row_text(row, "en")

    def prepare(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[RowState]:
        """Retrieve demonstrations and render the prompts, without calling the engine."""
        states: list[RowState] = []
        texts: list[str] = []
        good: list[int] = []
        found: Sequence[tuple[str, ...]] = [()] * len(rows)
        if self.screen is not None:
            screened = [self.screen.screened(row) for row in rows]
            rows, found = [one.row for one in screened], [one.reasons for one in screened]
        for place, (row, id_) in enumerate(zip(rows, ids, strict=True)):
            text = self.rows.search_text(row)
            language = self.language or self.rows.language(row)
            state = RowState(id_, language, suspicious=found[place])
            states.append(state)
            if isinstance(text, RowError):
                state.error = text
                continue
            good.append(place)
            texts.append(text)
        if not good:
            return states
        queries = None
        if self.retriever is not None and (self.k > 0 or self.experts is not None):
            queries = self.retriever.queries(
                texts,
                rows=[rows[i] for i in good],
                exclude_ids=None if exclude_ids is None else [exclude_ids[i] for i in good],
                leave_self_out=leave_self_out,
                k=0 if self.layout is None else self.layout.search_k,
                neighbours=0 if self.experts is None else NEIGHBOURS,
            )
        if self.experts is not None and queries is not None:
            opinions = self.experts.opinions(queries)
            languages = [states[place].language for place in good]
            reads = self.has_model
            unread = [""] * len(good)
            if reads and self.cascade:
                unread = self._unread(opinions, languages)
            skipped = [bool(why) or not reads for why in unread]
            if self._experts_answer and not leave_self_out:
                skipped = [
                    sure or bool(states[place].suspicious)
                    for sure, place in zip(skipped, good, strict=True)
                ]
            shortlists = self.label_shortlist.choose(opinions) if self.label_shortlist else []
            for n, place in enumerate(good):
                state = states[place]
                state.opinion = opinions[n]
                state.skipped, state.unread = skipped[n], unread[n]
                state.nearest = self._nearest(queries.hits[n]) if skipped[n] else ()
                state.shortlist = shortlists[n] if shortlists else ()
        shown = self._demonstrations(queries, [states[i].shortlist for i in good])
        asked = {
            place: PromptInput(
                rows[place],
                found.demonstrations,
                states[place].shortlist,
                len(found.shared),
                text if states[place].language == SEARCH_LANGUAGE else None,
            )
            for place, text, found in zip(good, texts, shown, strict=True)
            if not states[place].skipped
        }
        prompts = self._prompts(self.setups, states, asked)
        for place, prompt in prompts.items():
            self._give_prompt(states[place], asked[place], prompt)
        return states

    @property
    def skips_decided(self) -> bool:
        """Whether to skip the model for rows whose label it cannot change. If suspicious rows need
        review, every row is read, because readings are also checked for attacks."""
        on = self.cascade and self.has_model and self.suspicious != "review"
        return on and self.experts is not None and self.policy.may_decide

    def _unread(self, opinions: Sequence[Opinion], languages: Sequence[Language]) -> list[str]:
        """For each row, why the model is skipped; empty if it is not."""
        settled = [False] * len(opinions)
        if self.suspicious != "review":  # see skips_decided
            settled = self.policy.decided(opinions, [self._calibration(one) for one in languages])
        return [
            DECIDED if known else SURE if sure else ""
            for known, sure in zip(settled, self.policy.skips(opinions), strict=True)
        ]

    @property
    def _experts_answer(self) -> bool:
        """Whether the experts classify suspicious rows; without experts, these need review."""
        known = self.experts is not None and self.policy.experts_only is not None
        return self.suspicious == "experts" and known

    def _nearest(self, hits: Hits) -> tuple[Demonstration, ...]:
        """The nearest examples of a row, which vote."""
        if self.retriever is None:
            return ()
        examples, texts = self.retriever.examples, self.retriever.texts
        pairs = zip(hits.positions[:NEIGHBOURS], hits.similarities[:NEIGHBOURS], strict=True)
        return tuple(Demonstration(examples[p], texts[p], float(s)) for p, s in pairs)

    def _demonstrations(
        self, queries: Queries | None, shortlists: Sequence[tuple[int, ...]]
    ) -> list[RowDemonstrations]:
        if queries is None or self.layout is None:
            return [RowDemonstrations() for _ in shortlists]
        if self.label_shortlist is None:
            return self.layout.demonstrations(queries)
        names = self.space.names
        labels = [[names[i] for i in places] for places in shortlists]
        return self.layout.demonstrations(queries, labels)

    def _prompts(
        self, setups: LanguageSetups, states: Sequence[RowState], asked: Mapping[int, PromptInput]
    ) -> dict[int, Prompt | EcomfsError]:
        """Position of a row → its prompts; rows of a language are built together."""
        found: dict[int, Prompt | EcomfsError] = {}
        for language in dict.fromkeys(states[place].language for place in asked):
            mine = [place for place in asked if states[place].language == language]
            prompts = setups[language].prompts(
                [asked[place] for place in mine], self.engine, self.budget
            )
            found.update(zip(mine, prompts, strict=True))
        return found

    def _give_prompt(
        self, state: RowState, asked: PromptInput, prompt: Prompt | EcomfsError
    ) -> None:
        """Set the prompts of a state, or the error if one cannot be built."""
        if isinstance(prompt, EcomfsError):
            state.demonstrations, state.error = tuple(asked.demonstrations), prompt
            return
        block = {d.example.id for d in asked.demonstrations[: asked.shared]}
        shared = [d for d in prompt.demonstrations if d.example.id in block]
        more: list[Prompt] = []
        # Further passes reorder the demonstrations that fit, deterministically for each prompt;
        # the shared block has one order per pass.
        draws = random.Random(f"{self.seed}/{prompt.text}") if self.extra_passes else None
        for number, setups in enumerate(self.extra_passes):
            order = [d for d in prompt.demonstrations if d.example.id not in block]
            if draws is not None:
                draws.shuffle(order)
            first = list(shared)
            random.Random(f"{self.seed}/{number}").shuffle(first)
            again = asked._replace(demonstrations=[*first, *order], shared=len(first))
            found = self._prompts(setups, [state], {0: again})[0]
            if isinstance(found, EcomfsError):
                state.demonstrations, state.error = tuple(asked.demonstrations), found
                return
            more.append(found)
        state.demonstrations, state.shared = prompt.demonstrations, len(shared)
        state.prompt, state.extra_passes = prompt, tuple(more)

    async def _read(self, states: Sequence[RowState]) -> list[RowReading]:
        """Read the rows that have prompts, with one engine call per pass and language, and separate
        calls for rows with shortlists."""
        passes = [self._pass(self.setups, states, [state.prompt for state in states])]
        for number, setups in enumerate(self.extra_passes):
            prompts = [s.extra_passes[number] if s.extra_passes else None for s in states]
            passes.append(self._pass(setups, states, prompts))
        found = await asyncio.gather(*passes)
        return [
            state.error or _averaged(readings)
            for state, readings in zip(states, zip(*found, strict=True), strict=True)
        ]

    async def _pass(
        self,
        setups: LanguageSetups,
        states: Sequence[RowState],
        prompts: Sequence[Prompt | None],
    ) -> list[RowReading]:
        out: list[RowReading] = [None for _ in states]
        alike: dict[tuple[Language, bool], list[tuple[int, Prompt]]] = defaultdict(list)
        # Prompts with equal prefixes follow each other, so that a small prefix cache is enough.
        waiting = [(p.text, i, p) for i, p in enumerate(prompts) if p is not None]
        for _, place, prompt in sorted(waiting, key=lambda item: item[:2]):
            alike[states[place].language, bool(states[place].shortlist)].append((place, prompt))

        async def read(language: Language, short: bool, mine: list[tuple[int, Prompt]]) -> None:
            readout = setups[language].readout
            asked = [prompt for _, prompt in mine]
            if not short:
                answers = await readout.read(self.engine, asked)
                for (place, _), answer in zip(mine, answers, strict=True):
                    out[place] = answer
                return
            lists = [states[place].shortlist for place, _ in mine]
            answers = await readout.read_each(self.engine, asked, lists)
            for (place, _), shortlist, answer in zip(mine, lists, answers, strict=True):
                out[place] = answer
                if self.label_shortlist and isinstance(answer, Posterior):
                    out[place] = self.label_shortlist.widen(answer, shortlist, len(self.space))

        await asyncio.gather(*(read(*key, mine) for key, mine in alike.items()))
        return out

    def _predict(
        self, states: Sequence[RowState], readings: Sequence[RowReading]
    ) -> list[Prediction]:
        answered = [
            place
            for place, reading in enumerate(readings)
            if reading is None or (isinstance(reading, Posterior) and reading.probabilities)
        ]
        posteriors = [r if isinstance(r, Posterior) else None for r in readings]
        decisions = self.policy.decide(
            [posteriors[place] for place in answered],
            [states[place].opinion for place in answered],
            [self._calibration(states[place].language) for place in answered],
        )
        decided: dict[int, Decision] = dict(zip(answered, decisions, strict=True))
        out: list[Prediction] = []
        engine = self.engine.fingerprint
        for place, (state, reading) in enumerate(zip(states, readings, strict=True)):
            decision, suspicious = decided.get(place), state.suspicious
            if decision is None:
                answer = _unanswered(reading)
            else:
                if doubts := self.policy.doubts(decision, posteriors[place]):
                    suspicious = (*suspicious, *doubts)
                    if self._experts_answer:
                        (decision,) = self.policy.decide([None], [state.opinion])
                answer = self._answer(decision)
            answer |= {"engine": engine, "suspicious": suspicious}
            out.append(self._prediction(state, posteriors[place], answer))
        return [self._reviewed(prediction) for prediction in out]

    def _prediction(
        self,
        state: RowState,
        posterior: Posterior | None,
        answer: Mapping[str, Any],
    ) -> Prediction:
        """The prediction of a row, made in one step: copies with changes would be slow."""
        prompt = state.prompt
        note = _note(prompt) or state.unread
        if answer["status"] is Status.ABSTAINED:
            note = "; ".join(filter(None, [note, "abstained: needs review"]))
        return Prediction(
            state.id,
            prompt_tokens=posterior.prompt_tokens if posterior else 0,
            cached_tokens=posterior.cached_tokens if posterior else 0,
            label_mass=posterior.label_mass if posterior else None,
            note=note,
            demonstration_ids=tuple([d.example.id for d in state.demonstrations]),
            template=prompt.template if prompt else None,
            pool_version=self.pool_version,
            **answer,
        )

    def _reviewed(self, prediction: Prediction) -> Prediction:
        """The prediction; abstained if the row is suspicious and such rows need review."""
        person = self.suspicious == "review" or (
            self.suspicious == "experts" and not self._experts_answer
        )
        if not (person and prediction.suspicious and prediction.status is Status.OK):
            return prediction
        return prediction.abstained("suspicious")

    def _calibration(self, language: Language) -> Calibration | None:
        return self.setups[language].calibration if language in self.setups else None

    def _answer(self, decision: Decision) -> dict[str, Any]:
        """A decision as fields of a prediction."""
        names, p = self.space.names, decision.probabilities
        if not all(map(math.isfinite, p)):
            # Readings were checked before, so the cause is a calibration, a blend or the experts.
            steps = ", ".join(
                k for k, p in decision.stages.items() if not all(map(math.isfinite, p))
            )
            error = f"the probabilities are not numbers ({steps})"
            return {"status": Status.FAILED, "label": None, "error": error}
        accepted = decision.accepted
        return {
            "status": Status.OK if accepted else Status.ABSTAINED,
            "label": names[p.index(max(p))] if accepted else None,
            "probabilities": dict(zip(names, p, strict=True)),
            "stages": decision.stages,
            "source": decision.source,
            "prediction_set": tuple([names[i] for i in decision.prediction_set]),
            "novelty": decision.novelty,
        }


def _unanswered(reading: RowReading) -> dict[str, Any]:
    """The error or the note of a row without an answer, as fields of a prediction."""
    if isinstance(reading, Posterior):
        return {"status": Status.INVALID, "label": None, "error": _no_label(reading)}
    return {"status": Status.FAILED, "label": None, "error": str(reading)}


def _averaged(readings: Sequence[RowReading]) -> RowReading:
    """Combine several passes: the first error, or the mean of the valid posteriors."""
    if len(readings) == 1:
        return readings[0]
    for reading in readings:
        if not isinstance(reading, Posterior):
            return reading
    given = [a for a in readings if isinstance(a, Posterior)]
    parsed = [a for a in given if a.probabilities]
    if len(given) == 1 or not parsed:
        return given[0]
    masses = [a.label_mass for a in parsed if a.label_mass is not None]
    columns = zip(*(a.probabilities for a in parsed), strict=True)
    return Posterior(
        tuple(sum(column) / len(parsed) for column in columns),
        sum(masses) / len(masses) if masses else None,
        raw=given[0].raw,
        prompt_tokens=sum(a.prompt_tokens for a in given),
        cached_tokens=sum(a.cached_tokens for a in given),
    )


def _no_label(posterior: Posterior) -> str:
    """Why a reading gives no label."""
    if posterior.raw is None and posterior.label_mass is not None:
        mass = posterior.label_mass
        return f"the model gives all labels the same probability, {mass:.1g} together"
    answer = " ".join((posterior.raw or "").split())[:80]
    return f"the model answered {answer!r}, no known label"


def _note(prompt: Prompt | None) -> str:
    if prompt is None:
        return ""
    parts = []
    if prompt.dropped:
        parts.append(f"{prompt.dropped} demonstrations left out to fit the context")
    if prompt.cut:
        parts.append(f"the last {prompt.cut} characters of the text left out to fit the context")
    return "; ".join(parts)
