"""The read-out chain: which ways there are to read an answer, and which one is taken.

``auto`` goes down the chain to the first step that the engine meets and that tells the answers
apart at a fair price; any step may be named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from ecomfs.engine.protocol import Engine
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.choice import ChoiceReadout
from ecomfs.readout.generated import TextReadout
from ecomfs.readout.likely import TopReadout
from ecomfs.readout.readout import LogprobReadout, Readout
from ecomfs.readout.verbalizer import Kind

StepName = Literal["words", "codes", "top-words", "top-codes", "choice", "text"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain.

    Attributes:
        name: as ``--readout`` names it.
        kind: what the model answers with.
        readout: how that is read.
    """

    name: StepName
    kind: Kind
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
    """The steps that a choice of read-out allows on an engine, best first.

    Raises:
        ConfigError: the engine does not give what the step needs.
    """
    met = [step for step in CHAIN if step.readout.met(engine)]
    if choice == "auto" and met:
        return met
    found = [step for step in met if step.name == choice]
    if not found:
        needs = next((s.readout.needs for s in CHAIN if s.name == choice), TextReadout.needs)
        raise ConfigError(
            f"engine {engine.spec} does not give {needs}",
            hint=f"use --readout {' or '.join(step.name for step in met)}" if met else "",
        )
    return found


def first(
    allowed: Sequence[Step], make: Callable[[Step], tuple[T, Readout]], *, narrowed: bool
) -> T:
    """What ``make`` makes of the first step whose read-out suits the answers.

    Raises:
        ConfigError, EngineError: of ``make``, where no step is left.
    """
    dear: T | None = None
    for step in allowed:
        if dear is not None and step.readout is not LogprobReadout:
            break  # exact at a high price is better than anything further down
        try:
            made, readout = make(step)
        except (ConfigError, EngineError):
            if step is allowed[-1]:
                raise
            continue
        if step is allowed[-1] or readout.suits(narrowed):
            return made
        if step.readout is LogprobReadout:
            dear = made
    if dear is None:
        raise ConfigError("no read-out", hint="name one: --readout")
    return dear


__all__ = ["CHAIN", "Step", "StepName", "first", "steps"]
