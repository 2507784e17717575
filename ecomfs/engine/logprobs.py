"""Calls to an engine with a check that its answers are distributions.

A model that overflows, a faulty server or a gateway can return log-probabilities that are not a
distribution: NaN, infinity, -infinity for every token, a probability above one, or several with a
sum above one. Such an answer is an error of its row: it is never cached and never becomes a label.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ecomfs.engine import protocol
from ecomfs.engine.protocol import (
    ChosenAnswer,
    Engine,
    SupportsChoice,
    SupportsTopTokens,
    TopTokens,
)
from ecomfs.errors import EngineError, InvalidLogprobsError
from ecomfs.types import Prompt, Question, Reading

SLACK = 1e-3
"""Tolerance for a sum of probabilities above one, for sums over a vocabulary in float32."""


async def read(
    engine: Engine, prompts: Sequence[Prompt], questions: Sequence[Question]
) -> list[Reading | EngineError]:
    """As :meth:`ecomfs.engine.protocol.Engine.read`, with :func:`checked` readings."""
    found = await engine.read(prompts, questions)
    if getattr(engine, "checks", False):
        return found
    return [checked(one, questions) for one in found]


async def read_each(
    engine: Engine, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
) -> list[Reading | EngineError]:
    """As :func:`ecomfs.engine.protocol.read_each`, with :func:`checked` readings."""
    found = await protocol.read_each(engine, prompts, questions)
    if getattr(engine, "checks", False):
        return found
    return [checked(one, asked) for one, asked in zip(found, questions, strict=True)]


async def top(
    engine: SupportsTopTokens, prompts: Sequence[Prompt]
) -> list[TopTokens | EngineError]:
    """As :meth:`ecomfs.engine.protocol.SupportsTopTokens.top`, with checked lists."""
    return [checked_list(listed) for listed in await engine.top(prompts)]


async def choose(
    engine: SupportsChoice, prompts: Sequence[Prompt], answers: Sequence[str]
) -> list[ChosenAnswer | EngineError]:
    """As :meth:`ecomfs.engine.protocol.SupportsChoice.choose`, with checked alternatives."""
    return [checked_choice(choice) for choice in await engine.choose(prompts, answers)]


def checked(reading: Reading | EngineError, questions: Sequence[Question]) -> Reading | EngineError:
    """The reading of one prompt, or an error if it is not a distribution; errors are returned.

    >>> ask = [Question((1, 2))]
    >>> checked(Reading(((-0.7, -0.7),)), ask)
    Reading(logprobs=((-0.7, -0.7),), ...)
    >>> checked(Reading(((math.nan, -0.7),)), ask)
    InvalidLogprobsError('the log-probabilities are no distribution: NaN for 1 of 2 tokens')
    """
    if isinstance(reading, EngineError):
        return reading
    if [len(values) for values in reading.logprobs] != [len(asked.codes) for asked in questions]:
        return _error("they are not one for each token that was asked about")
    for values, asked in zip(reading.logprobs, questions, strict=True):
        if len(set(asked.codes)) < len(values):  # count repeated codes once
            values = tuple(dict(zip(asked.codes, values, strict=True)).values())
        if error := fault(values):
            return error
    return reading


def checked_list(listed: TopTokens | EngineError) -> TopTokens | EngineError:
    """The list, or an error if it is not part of a distribution."""
    if isinstance(listed, EngineError):
        return listed
    return fault(listed.logprobs.values()) or listed


def checked_choice(choice: ChosenAnswer | EngineError) -> ChosenAnswer | EngineError:
    """The choice, or an error if a list of alternatives is not part of a distribution."""
    if isinstance(choice, EngineError):
        return choice
    return next(filter(None, (fault(listed.values()) for _, listed in choice.steps)), choice)


def fault(logprobs: Collection[float]) -> InvalidLogprobsError | None:
    """The error of values that cannot be log-probabilities of different next tokens; ``None`` if
    they can.

    >>> fault([-0.1, -math.inf]) is None
    True
    >>> fault([-math.inf, -math.inf])
    InvalidLogprobsError('the log-probabilities are no distribution: -inf for all 2 tokens')
    """
    try:
        mass = sum(map(math.exp, logprobs))
    except OverflowError:
        mass = math.inf
    except TypeError:
        return _error("not all of them are numbers")
    # NaN is not between any two numbers.
    if 0 < mass <= 1 + SLACK or (mass == 0 and not all(p == -math.inf for p in logprobs)):
        return None
    count, most = len(logprobs), max(logprobs, default=0.0)
    if not count:
        return None
    if nans := sum(map(math.isnan, logprobs)):
        return _error(f"NaN for {nans} of {count} tokens")
    if most == -math.inf:
        return _error(f"-inf for all {count} tokens")
    if most > SLACK:
        return _error(f"{most:+.3g} is a probability above 1")
    return _error(f"the probabilities of {count} tokens sum to {mass:.3f}")


def _error(why: str) -> InvalidLogprobsError:
    return InvalidLogprobsError(
        f"the log-probabilities are no distribution: {why}",
        hint="the model or its server is broken: run 'ecomfs check', try another precision",
    )
