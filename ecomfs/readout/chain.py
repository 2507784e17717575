"""The read-out chain: all read-outs, in order of preference.

``auto`` uses the first one that the engine supports and that suits the answers; any of them can be
chosen by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from ecomfs.engine.protocol import Engine
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.logprob import LogprobReadout, Readout
from ecomfs.readout.text import TextReadout
from ecomfs.readout.top_tokens import ChoiceReadout, TopReadout
from ecomfs.readout.verbalizer import AnswerKind

StepName = Literal["words", "codes", "top-words", "top-codes", "choice", "text"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain.

    Attributes:
        name: value of ``--readout``.
        kind: kind of the answers, words or codes.
        readout: class of the read-out.

    >>> [step.name for step in CHAIN]
    ['words', 'codes', 'top-words', 'top-codes', 'choice', 'text']
    """

    name: StepName
    kind: AnswerKind
    readout: type[Readout]


CHAIN = (
    Step("words", "words", LogprobReadout),
    Step("codes", "codes", LogprobReadout),
    Step("top-words", "words", TopReadout),
    Step("top-codes", "codes", TopReadout),
    Step("choice", "words", ChoiceReadout),
    Step("text", "words", TextReadout),
)


def steps(engine: Engine, choice: Literal["auto"] | StepName = "auto") -> list[Step]:
    """The steps that an engine supports for a choice of read-out, best first.

    Raises
    ------
    ConfigError
        The engine does not support the chosen step.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from ecomfs.engine.protocol import Capabilities
    >>> able = Capabilities(False, True, False, 4096, top_logprobs=5)
    >>> engine = SimpleNamespace(spec="provider:model", capabilities=able, tokenizer=None)
    >>> [step.name for step in steps(engine)]
    ['top-words', 'top-codes', 'text']
    """
    supported = [step for step in CHAIN if step.readout.supported(engine)]
    if choice == "auto" and supported:
        return supported
    found = [step for step in supported if step.name == choice]
    if not found:
        needs = next((s.readout.needs for s in CHAIN if s.name == choice), TextReadout.needs)
        names = " or ".join(step.name for step in supported)
        hint = f"use --readout {names}" if names else ""
        raise ConfigError(f"engine {engine.spec} does not provide {needs}", hint=hint)
    return found


def first(
    allowed: Sequence[Step], make: Callable[[Step], tuple[T, Readout]], *, shortlisted: bool
) -> T:
    """Make the object for the first step whose read-out suits the answers.

    Parameters
    ----------
    allowed
        Steps, best first.
    make
        Makes an object and its read-out for a step.
    shortlisted
        Whether prompts list only a shortlist of the answers.

    Raises
    ------
    ConfigError, EngineError
        The last error of ``make``, if all steps failed.
    """
    expensive: T | None = None
    for step in allowed:
        if expensive is not None and step.readout is not LogprobReadout:
            break  # an exact read-out is preferred to the rest, even if expensive
        try:
            made, readout = make(step)
        except (ConfigError, EngineError):
            if step is allowed[-1]:
                raise
            continue
        if step is allowed[-1] or readout.suits(shortlisted):
            return made
        if step.readout is LogprobReadout:
            expensive = made
    if expensive is None:
        raise ConfigError("no read-out suits this task and engine", hint="choose one: --readout")
    return expensive


__all__ = ["CHAIN", "Step", "StepName", "first", "steps"]
