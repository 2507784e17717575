"""The way of one row, assembled: fields → text → demonstrations → prompt → reading → prediction.

This is the asynchronous core that the classifier, the batch scorer and the service share. It
holds no state between rows; everything it needs is decided when it is built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from ecomfs.decide import Decided, Policy
from ecomfs.engine.protocol import Engine
from ecomfs.errors import EcomfsError, RowError
from ecomfs.prompt import PromptBuilder
from ecomfs.read import Calibration, Readout
from ecomfs.retrieve import Experts, Opinion, Retriever
from ecomfs.task import LabelSpace, RowText, TaskCard, first_empty
from ecomfs.types import Demonstration, Language, Posterior, Prediction, Prompt, Row, Status

ANSWER_TOKENS = 32
"""Room left in the context for the answer."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How rows of one language are asked: the prompt builder, the read-out that fits it, and the
    calibration of its posteriors (``None``: as they are read)."""

    builder: PromptBuilder
    readout: Readout
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One row on its way: what was asked, with which demonstrations; or why it could not be.

    ``opinion``: what the cheap experts say of it; ``skipped``: they are sure enough for the model
    not to be asked.
    """

    id: str
    language: Language
    demonstrations: tuple[Demonstration, ...] = ()
    prompt: Prompt | None = None
    error: EcomfsError | None = None
    opinion: Opinion | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything decided for one run.

    Attributes:
        rows: puts rows into words, fitted on the pool.
        language: fixed language, or ``None`` to follow each row's own.
        retriever: ``None`` for zero-shot.
        k: demonstrations a prompt.
        budget: most prompt tokens.
        experts: the cheap experts, where the policy listens to them.
        policy: how readings and opinions become predictions.
    """

    card: TaskCard
    space: LabelSpace
    engine: Engine
    voices: dict[Language, Voice]
    rows: RowText
    retriever: Retriever | None
    k: int
    language: Language | None = None
    budget: int | None = None
    pool_version: int = 0
    experts: Experts | None = None
    policy: Policy = field(default_factory=Policy)

    async def classify(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Prediction]:
        """One prediction a row, in order. A row's failure is that row's; only an engine that is
        gone altogether raises."""
        return [p for _, _, p in await self.trace(rows, ids, exclude_ids=exclude_ids)]

    async def trace(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[tuple[Case, Posterior | None, Prediction]]:
        """Like :meth:`classify`, with what led to each prediction: the case, the posterior as it
        was read (before it is calibrated), and the prediction.

        ``leave_self_out``: rows come from the pool; no copy of a row may stand in its prompt.
        """
        # Embedding and rendering are work of the CPU: the event loop stays free for others.
        cases = await asyncio.to_thread(
            self.prepare, rows, ids, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        return [
            (case, posterior if isinstance(posterior, Posterior) else None, prediction)
            for case, posterior, prediction in await self.answer(cases)
        ]

    async def answer(
        self, cases: Sequence[Case]
    ) -> list[tuple[Case, Posterior | EcomfsError | None, Prediction]]:
        """The second half of :meth:`trace`, for callers that :meth:`prepare` the next rows while
        these are read: each case with its posterior, with the error in its place, or with
        ``None`` where the experts answer and the model is not asked."""
        posteriors = await self._read(cases)
        return [
            (case, posterior, self._predict(case, posterior))
            for case, posterior in zip(cases, posteriors, strict=True)
        ]

    def text(self, row: Row) -> str:
        """A row as the retriever sees it; one that cannot be put into words, because a cell is
        not of its field's kind, as its cells are."""
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
    ) -> list[Case]:
        """Retrieve demonstrations and render the prompts, without asking the engine."""
        texts = [self._worded(row) for row in rows]
        good = [i for i, text in enumerate(texts) if isinstance(text, str)]
        fields = [rows[i] for i in good]
        chosen: list[list[Demonstration]] = [[] for _ in rows]
        if self.retriever is not None and self.k > 0 and good:
            found = self.retriever.retrieve(
                [text for text in texts if isinstance(text, str)],
                self.k,
                rows=fields,
                exclude_ids=None if exclude_ids is None else [exclude_ids[i] for i in good],
                leave_self_out=leave_self_out,
            )
            for i, demonstrations in zip(good, found, strict=True):
                chosen[i] = demonstrations
        opinions: list[Opinion | None] = [None for _ in rows]
        if self.experts is not None and good:
            asked = self.experts.opinions(
                [text for text in texts if isinstance(text, str)],
                rows=fields,
                exclude_ids=None if exclude_ids is None else [exclude_ids[i] for i in good],
                leave_self_out=leave_self_out,
            )
            for i, opinion in zip(good, asked, strict=True):
                opinions[i] = opinion
        return [
            self._case(row, id_, text, demonstrations, opinion)
            for row, id_, text, demonstrations, opinion in zip(
                rows, ids, texts, chosen, opinions, strict=True
            )
        ]

    def _worded(self, row: Row) -> str | RowError:
        empty = first_empty(row, self.card)
        if empty is not None:
            return RowError(f"field {empty!r} is empty")
        try:
            return self.rows.render(row, "en")
        except RowError as error:
            return error

    def _case(
        self,
        row: Row,
        id_: str,
        text: str | RowError,
        demonstrations: Sequence[Demonstration],
        opinion: Opinion | None,
    ) -> Case:
        language = self.language or self.rows.language(row)
        skipped = self.policy.skips(opinion)
        case = Case(id_, language, tuple(demonstrations), opinion=opinion, skipped=skipped)
        if isinstance(text, RowError):
            return replace(case, error=text)
        if skipped:
            return replace(case, demonstrations=())
        tokenizer = self.engine.tokenizer
        try:
            prompt = self.voices[language].builder.build(
                row,
                demonstrations,
                encode=None if tokenizer is None else lambda t: tokenizer.encode(t, bos=True),
                budget=self.budget,
            )
        except EcomfsError as error:
            return replace(case, error=error)
        return replace(case, prompt=prompt, demonstrations=prompt.demonstrations)

    async def _read(self, cases: Sequence[Case]) -> list[Posterior | EcomfsError | None]:
        """Read the cases that have a prompt, one engine call a language; ``None`` for those that
        skip the model."""
        out: list[Posterior | EcomfsError | None] = [case.error for case in cases]
        for language, voice in self.voices.items():
            mine = [i for i, c in enumerate(cases) if c.prompt and c.language == language]
            if not mine:
                continue
            prompts = [p for i in mine if (p := cases[i].prompt) is not None]
            posteriors = await voice.readout.read(self.engine, prompts)
            for i, posterior in zip(mine, posteriors, strict=True):
                out[i] = posterior
        return out

    def _predict(self, case: Case, posterior: Posterior | EcomfsError | None) -> Prediction:
        base = Prediction(
            id=case.id,
            label=None,
            status=Status.FAILED,
            demonstration_ids=tuple(d.example.id for d in case.demonstrations),
            template=case.prompt.template if case.prompt else None,
            engine=self.engine.fingerprint,
            pool_version=self.pool_version,
            note=_note(case.prompt),
        )
        if isinstance(posterior, EcomfsError):
            return replace(base, error=str(posterior))
        if posterior is not None:
            base = replace(
                base,
                prompt_tokens=posterior.prompt_tokens,
                cached_tokens=posterior.cached_tokens,
                label_mass=posterior.label_mass,
            )
            if not posterior.probabilities:
                answer = " ".join((posterior.raw or "").split())[:80]
                return replace(
                    base,
                    status=Status.INVALID,
                    error=f"the model answered {answer!r}, no known label",
                )
        decided = self.policy.decide(
            posterior, case.opinion, self.voices[case.language].calibration
        )
        return self._answered(base, decided)

    def _answered(self, base: Prediction, decided: Decided) -> Prediction:
        names = self.space.names
        best = max(range(len(names)), key=decided.probabilities.__getitem__)
        return replace(
            base,
            status=Status.OK if decided.accepted else Status.ABSTAINED,
            label=names[best] if decided.accepted else None,
            probabilities=dict(zip(names, decided.probabilities, strict=True)),
            stages=decided.stages,
            source=decided.source,
            prediction_set=tuple(names[i] for i in decided.prediction_set),
            novelty=decided.novelty,
        )


def _note(prompt: Prompt | None) -> str:
    if prompt is None:
        return ""
    parts = []
    if prompt.dropped:
        parts.append(f"{prompt.dropped} demonstrations left out to fit the context")
    if prompt.cut:
        parts.append(f"the last {prompt.cut} characters of the text left out to fit the context")
    return "; ".join(parts)
