"""The readings that rows would need: their prompts, and which readings are in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ecomfs.engine.cached import CachedEngine
from ecomfs.engine.protocol import Engine
from ecomfs.experts import Experts
from ecomfs.pipeline.left_out import draw_left_out
from ecomfs.pipeline.pipeline import DECIDED, Pipeline, RowState
from ecomfs.readout import LogprobReadout, Readout, TopReadout
from ecomfs.types import Prompt

ANSWER = 24
"""Most tokens of a generated answer (:class:`ecomfs.readout.TextReadout`)."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """The readings that one row would need.

    Attributes
    ----------
    state : object
        The prepared row.
    prompts : tuple of Prompt
        Prompts whose readings are not in the cache.
    remembered : int
        Number of prompts whose readings are in the cache.
    alone : bool
        Whether the experts classify the row without the model.
    decided : bool
        Whether they do because the model could not change the label.
    answer_tokens : int
        Most tokens of the answers to ``prompts``.

    Examples
    --------
    >>> PlannedRow(None, (), remembered=1).asked
    False
    """

    state: Any
    prompts: tuple[Prompt, ...] = ()
    remembered: int = 0
    alone: bool = False
    answer_tokens: int = 0
    decided: bool = False

    @property
    def asked(self) -> bool:
        """Whether the model would read this row."""
        return bool(self.prompts)

    @property
    def usable(self) -> bool:
        """Whether the row can be classified."""
        return self.alone or self.remembered > 0 or self.asked

    @property
    def tokens(self) -> int:
        """Tokens of the prompts."""
        return sum(len(prompt.token_ids) for prompt in self.prompts)

    def and_then(self, other: PlannedRow) -> PlannedRow:
        """Add later readings of the same row."""
        return replace(
            self,
            prompts=self.prompts + other.prompts,
            remembered=self.remembered + other.remembered,
            answer_tokens=self.answer_tokens + other.answer_tokens,
        )


async def planned_rows(pipeline: Pipeline, states: Sequence[RowState]) -> list[PlannedRow]:
    """The readings that prepared rows would need, one entry per row.

    Examples
    --------
    >>> import asyncio
    >>> from types import SimpleNamespace
    >>> nothing = SimpleNamespace(engine=None, setups={})
    >>> [row] = asyncio.run(planned_rows(nothing, [RowState("1", "en", skipped=True)]))
    >>> row.alone, row.usable, row.tokens
    (True, True, 0)
    """
    remembered = [False] * len(states)
    for language, setup in pipeline.setups.items():
        mine = [i for i, s in enumerate(states) if s.language == language and s.prompt]
        prompts = [p for i in mine if (p := states[i].prompt) is not None]
        lists = [states[i].shortlist for i in mine]
        known = await known_prompts(pipeline.engine, setup.readout, prompts, lists)
        for i, there in zip(mine, known, strict=True):
            remembered[i] = there
    out = []
    for state, there in zip(states, remembered, strict=True):
        prompts = [p for p in (state.prompt, *state.extra_passes) if p is not None]
        if state.skipped or not prompts or there:
            found = len(prompts) if there and not state.skipped else 0
            settled = state.unread == DECIDED
            out.append(PlannedRow(state, remembered=found, alone=state.skipped, decided=settled))
            continue
        tokens = answer_tokens(pipeline.setups[state.language].readout)
        out.append(PlannedRow(state, tuple(prompts), answer_tokens=tokens))
    return out


async def planned_fit(
    pipeline: Pipeline, readings: int, seed: int, *, uniform: bool = False
) -> list[PlannedRow]:
    """The readings that a fit would need, if it does not stop early.

    Parameters
    ----------
    pipeline : Pipeline
        The unfitted pipeline.
    seed : int
        Seed of the draw of examples.
    uniform : bool
        Draw examples uniformly (:func:`ecomfs.pipeline.needs_uniform_draw`).

    Examples
    --------
    >>> import asyncio
    >>> from types import SimpleNamespace
    >>> asyncio.run(planned_fit(SimpleNamespace(retriever=None), 48, 0))
    []
    """
    if pipeline.retriever is None or not readings or not pipeline.has_model:
        return []
    experts = None
    if not uniform:
        experts = Experts(pipeline.retriever, pipeline.space.names, pipeline.card)
    examples = draw_left_out(pipeline.retriever.examples, readings, seed, experts).examples
    states = pipeline.prepare(
        [e.fields for e in examples],
        [e.id for e in examples],
        exclude_ids=[{e.id} for e in examples],
        leave_self_out=True,
    )
    planned = await planned_rows(pipeline, [state for state in states if state.prompt is not None])
    return [row for row in planned if not row.alone]


async def known_prompts(
    engine: Engine,
    readout: Readout,
    prompts: Sequence[Prompt],
    shortlists: Sequence[tuple[int, ...]],
) -> list[bool]:
    """For each prompt, whether its reading is in the cache.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(known_prompts(None, None, [], []))
    []
    """
    if not isinstance(engine, CachedEngine) or not isinstance(readout, LogprobReadout):
        return [False] * len(prompts)
    return await engine.known(prompts, [readout.questions_of(few) for few in shortlists])


def answer_tokens(readout: Readout) -> int:
    """Most answer tokens of a reading: one per position that is read.

    >>> answer_tokens(None)
    24
    """
    if isinstance(readout, LogprobReadout | TopReadout):
        return readout.reads_per_row
    return ANSWER


__all__ = ["PlannedRow", "answer_tokens", "known_prompts", "planned_fit", "planned_rows"]
