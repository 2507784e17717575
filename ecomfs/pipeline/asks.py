"""What rows would put to the model: their prompts, and which readings are in the cache."""

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
"""Most tokens of an answer that is generated, not read (:class:`ecomfs.readout.TextReadout`)."""


@dataclass(frozen=True, slots=True)
class RowAsk:
    """What one row would put to the model.

    Attributes
    ----------
    state : object
        The prepared row, to be answered.
    prompts : tuple of Prompt
        Whose readings are not in the cache.
    remembered : int
        Prompts whose readings are.
    alone : bool
        The experts answer the row, without the model.
    decided : bool
        They do because the model could not change the label.
    answer_tokens : int
        Of the answers to ``prompts``, at most.

    Examples
    --------
    >>> RowAsk(None, (), remembered=1).asked
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
        """Whether the model reads anything of this row."""
        return bool(self.prompts)

    @property
    def usable(self) -> bool:
        """Whether the row can be answered."""
        return self.alone or self.remembered > 0 or self.asked

    @property
    def tokens(self) -> int:
        """Of the prompts."""
        return sum(len(prompt.token_ids) for prompt in self.prompts)

    def and_then(self, other: RowAsk) -> RowAsk:
        """With what the same row puts to the model later."""
        return replace(
            self,
            prompts=self.prompts + other.prompts,
            remembered=self.remembered + other.remembered,
            answer_tokens=self.answer_tokens + other.answer_tokens,
        )


async def row_asks(pipeline: Pipeline, states: Sequence[RowState]) -> list[RowAsk]:
    """What prepared rows would put to the model, one each.

    Examples
    --------
    >>> import asyncio
    >>> from types import SimpleNamespace
    >>> nothing = SimpleNamespace(engine=None, setups={})
    >>> [ask] = asyncio.run(row_asks(nothing, [RowState("1", "en", skipped=True)]))
    >>> ask.alone, ask.usable, ask.tokens
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
            out.append(RowAsk(state, remembered=found, alone=state.skipped, decided=settled))
            continue
        tokens = answer_tokens(pipeline.setups[state.language].readout)
        out.append(RowAsk(state, tuple(prompts), answer_tokens=tokens))
    return out


async def fit_asks(
    pipeline: Pipeline, readings: int, seed: int, *, alike: bool = False
) -> list[RowAsk]:
    """What a fit of this many readings would put to the model, if it does not stop before.

    Parameters
    ----------
    pipeline : Pipeline
        Not fitted yet.
    seed : int
        Of the draw of examples.
    alike : bool
        They are drawn alike (:func:`ecomfs.pipeline.draws_alike`).

    Examples
    --------
    >>> import asyncio
    >>> from types import SimpleNamespace
    >>> asyncio.run(fit_asks(SimpleNamespace(retriever=None), 48, 0))
    []
    """
    if pipeline.retriever is None or not readings or not pipeline.has_model:
        return []
    experts = None
    if not alike:
        experts = Experts(pipeline.retriever, pipeline.space.names, pipeline.card)
    examples = draw_left_out(pipeline.retriever.examples, readings, seed, experts).examples
    states = pipeline.prepare(
        [e.fields for e in examples],
        [e.id for e in examples],
        exclude_ids=[{e.id} for e in examples],
        leave_self_out=True,
    )
    asks = await row_asks(pipeline, [state for state in states if state.prompt is not None])
    return [ask for ask in asks if not ask.alone]


async def known_prompts(
    engine: Engine,
    readout: Readout,
    prompts: Sequence[Prompt],
    shortlists: Sequence[tuple[int, ...]],
) -> list[bool]:
    """Which prompts have their reading in the cache.

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
    """Answer tokens of a reading, at most: one per position that is read.

    >>> answer_tokens(None)
    24
    """
    if isinstance(readout, LogprobReadout | TopReadout):
        return readout.reads_per_row
    return ANSWER


__all__ = ["RowAsk", "answer_tokens", "fit_asks", "known_prompts", "row_asks"]
