"""The way of one row, assembled: fields → text → demonstrations → prompt → reading → prediction.

This is the asynchronous core that the classifier, the batch scorer and the service share. It
holds no state between rows; everything it needs is decided when it is built.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ecomfs.calibration import Decided, Policy
from ecomfs.core.progress import READING, Progress, silent
from ecomfs.engine.protocol import Engine
from ecomfs.errors import EcomfsError, RowError
from ecomfs.experts import Experts, Opinion
from ecomfs.features import RowText
from ecomfs.pipeline.asking import Answer, Asker, RowState
from ecomfs.pipeline.language_setup import LabelShortlist, LanguageSetup
from ecomfs.retrieve import PrefixSharing, Retriever
from ecomfs.task import LabelSpace, TaskCard, first_empty
from ecomfs.types import Demonstration, Language, Posterior, Prediction, Prompt, Row, Status

ANSWER_TOKENS = 32
"""Room left in the context for the answer."""


class _Known(TypedDict):
    """What is known of the rows that are looked up."""

    rows: list[Row]
    exclude_ids: list[Collection[str]] | None
    leave_self_out: bool


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
        label_shortlist: how a shortlist is made of many labels; ``None``: all are put to the model.
        sharing: demonstrations that many prompts have in common; ``None``: every row has its own.
        extra_passes: setups of further passes, whose posteriors are averaged with the first one's.
        seed: of the orders of further passes.
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
    policy: Policy = field(default_factory=Policy)
    label_shortlist: LabelShortlist | None = None
    sharing: PrefixSharing | None = None
    extra_passes: tuple[dict[Language, LanguageSetup], ...] = ()
    seed: int = 0

    async def classify(
        self,
        rows: Sequence[Row],
        ids: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None = None,
        progress: Progress = silent,
    ) -> list[Prediction]:
        """One prediction a row, in order. A row's failure is that row's; only an engine that is
        gone altogether raises."""
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
        """Like :meth:`classify`, with what led to each prediction: the state, the posterior as it
        was read (before it is calibrated), and the prediction.

        ``leave_self_out``: rows come from the pool; no copy of a row may stand in its prompt.
        ``progress``: told of rows read; then some are read at a time, and not all at once.
        """
        progress(READING, 0, len(rows))
        # Embedding and rendering are work of the CPU: the event loop stays free for others.
        states = await asyncio.to_thread(
            self.prepare, rows, ids, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        size = len(states) if progress is silent else 2 * self.engine.capabilities.batch
        answered: list[tuple[RowState, Answer, Prediction]] = []
        for start in range(0, len(states), max(1, size)):
            answered += await self.answer(states[start : start + size])
            progress(READING, len(answered), len(states))
        return [
            (state, posterior if isinstance(posterior, Posterior) else None, prediction)
            for state, posterior, prediction in answered
        ]

    async def answer(self, states: Sequence[RowState]) -> list[tuple[RowState, Answer, Prediction]]:
        """The second half of :meth:`trace`, for callers that :meth:`prepare` the next rows while
        these are read: each state with its posterior, with the error in its place, or with
        ``None`` where the experts answer and the model is not asked."""
        posteriors = await self._asker().read(states)
        return [
            (state, posterior, self._predict(state, posterior))
            for state, posterior in zip(states, posteriors, strict=True)
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
    ) -> list[RowState]:
        """Retrieve demonstrations and render the prompts, without asking the engine."""
        worded = [self._worded(row) for row in rows]
        good = [i for i, text in enumerate(worded) if isinstance(text, str)]
        texts = [text for text in worded if isinstance(text, str)]
        kept: _Known = {
            "rows": [rows[i] for i in good],
            "exclude_ids": None if exclude_ids is None else [exclude_ids[i] for i in good],
            "leave_self_out": leave_self_out,
        }
        opinions: Sequence[Opinion | None] = [None for _ in good]
        shortlists: list[tuple[int, ...]] = [() for _ in good]
        if self.experts is not None and good:
            asked = self.experts.opinions(texts, **kept)
            opinions = asked
            if self.label_shortlist is not None:
                shortlists = [self.label_shortlist.shortlist(opinion) for opinion in asked]
        chosen: list[list[Demonstration]] = [[] for _ in good]
        if self.retriever is not None and self.k > 0 and good:
            chosen = self._demonstrations(self.retriever, texts, shortlists, kept)
        known = iter(zip(chosen, opinions, shortlists, strict=True))
        states = []
        for row, id_, text in zip(rows, ids, worded, strict=True):
            language = self.language or self.rows.language(row)
            if isinstance(text, RowError):
                states.append(RowState(id_, language, error=text))
                continue
            found, opinion, shortlist = next(known)
            skipped = self.policy.skips(opinion)
            shown = () if skipped else tuple(found)
            states.append(
                RowState(
                    id_, language, shown, opinion=opinion, skipped=skipped, shortlist=shortlist
                )
            )
        return self._asker().ask(states, rows)

    def _asker(self) -> Asker:
        return Asker(
            self.engine,
            self.setups,
            self.extra_passes,
            self.budget,
            self.label_shortlist,
            len(self.space),
            self.seed,
        )

    def _demonstrations(
        self,
        retriever: Retriever,
        texts: Sequence[str],
        shortlists: Sequence[tuple[int, ...]],
        kept: _Known,
    ) -> list[list[Demonstration]]:
        if self.sharing is not None:
            found = self.sharing.arrange(texts, **kept)
            return [list(found.demonstrations(row)) for row in range(len(texts))]
        if self.label_shortlist is None:
            return retriever.retrieve(texts, self.k, **kept)
        names = self.space.names
        labels = [[names[i] for i in places] for places in shortlists]
        return retriever.retrieve(texts, self.k, **kept, labels=labels)

    def _worded(self, row: Row) -> str | RowError:
        empty = first_empty(row, self.card)
        if empty is not None:
            return RowError(f"field {empty!r} is empty")
        try:
            return self.rows.render(row, "en")
        except RowError as error:
            return error

    def _predict(self, state: RowState, posterior: Answer) -> Prediction:
        note = _note(state.prompt)
        known: dict[str, Any] = {
            "id": state.id,
            "demonstration_ids": tuple(d.example.id for d in state.demonstrations),
            "template": state.prompt.template if state.prompt else None,
            "engine": self.engine.fingerprint,
            "pool_version": self.pool_version,
        }
        if isinstance(posterior, EcomfsError):
            error = str(posterior)
            return Prediction(**known, label=None, status=Status.FAILED, error=error, note=note)
        if posterior is not None:
            known |= {
                "prompt_tokens": posterior.prompt_tokens,
                "cached_tokens": posterior.cached_tokens,
                "label_mass": posterior.label_mass,
            }
            if not posterior.probabilities:
                error = _no_label(posterior)
                return Prediction(
                    **known, label=None, status=Status.INVALID, error=error, note=note
                )
        decided = self.policy.decide(
            posterior, state.opinion, self.setups[state.language].calibration
        )
        names = self.space.names
        if not all(map(math.isfinite, decided.probabilities)):
            # Readings are checked before: what is left is a calibration, a blend or the experts.
            steps = ", ".join(
                k for k, p in decided.stages.items() if not all(map(math.isfinite, p))
            )
            error = f"the probabilities are not numbers ({steps})"
            return Prediction(**known, label=None, status=Status.FAILED, error=error, note=note)
        best = max(range(len(names)), key=decided.probabilities.__getitem__)
        return Prediction(
            **known,
            status=Status.OK if decided.accepted else Status.ABSTAINED,
            label=names[best] if decided.accepted else None,
            probabilities=dict(zip(names, decided.probabilities, strict=True)),
            note="; ".join(filter(None, [note, *_remarks(decided)])),
            stages=decided.stages,
            source=decided.source,
            prediction_set=tuple(names[i] for i in decided.prediction_set),
            novelty=decided.novelty,
        )


def _remarks(decided: Decided) -> list[str]:
    """What the owner of a row should do; what can be told by a value has a field of its own."""
    return [] if decided.accepted else ["abstained: needs review"]


def _no_label(posterior: Posterior) -> str:
    """Why a reading is no answer."""
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


__all__ = ["ANSWER_TOKENS", "Pipeline", "RowState"]
