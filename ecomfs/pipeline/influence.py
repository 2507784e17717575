"""Which demonstrations moved an answer: the row is read again with each of them left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecomfs.errors import EcomfsError
from ecomfs.pipeline.pipeline import Pipeline, RowState
from ecomfs.prompt import PromptInput
from ecomfs.types import Demonstration, Posterior, Prediction, Row


@dataclass(frozen=True, slots=True)
class Influence:
    """What one demonstration did to the answer.

    Attributes:
        example_id: the demonstration's.
        without: the model's own probability (as read, before calibration and fusion) of the
            predicted label when the demonstration is left out; ``None`` when that could not be
            read.
        fall: how much that probability falls when it is left out; negative where it rises.
        answer: the final answer without it (the likeliest label, after every step).
        why: why there is no ``without``.
    """

    example_id: str
    without: float | None
    fall: float | None
    answer: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Influences:
    """One :class:`Influence` per demonstration, in prompt order; or none, and why in ``note``."""

    of: tuple[Influence, ...] = ()
    note: str = ""


async def influences(
    pipeline: Pipeline,
    row: Row,
    state: RowState,
    posterior: Posterior | None,
    prediction: Prediction,
) -> Influences:
    """Leave-one-demonstration-out readings of a row that was read: as many prompts as it has
    demonstrations, in one engine call.

    The experts' opinions stay as they are: only what the model is shown changes. A demonstration
    that the token budget left out does not come back when another one leaves.

    Args:
        row: the card's fields.
        state, posterior, prediction: of the row, as :meth:`Pipeline.trace` gives them.
    """
    label = prediction.suggestion
    note = _impossible(state, posterior, label)
    if note or posterior is None or label is None:
        return Influences(note=note)
    place = pipeline.space.require(label, "prediction")
    if state.shortlist and place not in state.shortlist:
        return Influences(
            note=f"{label!r} was not put to the model: its probability is the experts'"
        )
    shown = state.demonstrations
    asked: list[RowState] = []
    for at in range(len(shown)):
        asked.append(_without(pipeline, row, state, [*shown[:at], *shown[at + 1 :]]))
    before = posterior.probabilities[place]
    return Influences(
        tuple(
            _influence(demonstration, found, after, place, before)
            for demonstration, (_, found, after) in zip(
                shown, await pipeline.answer(asked), strict=True
            )
        )
    )


def _impossible(state: RowState, posterior: Posterior | None, label: str | None) -> str:
    if state.skipped:
        return "the model was not asked: the experts were sure enough"
    if posterior is None or label is None:
        return "the row has no answer"
    if posterior.label_mass is None and max(posterior.probabilities) == 1:
        return "the engine gives no log-probabilities: there is an answer and no distribution"
    if not state.demonstrations:
        return "no demonstrations stand in the prompt"
    return ""


def _without(
    pipeline: Pipeline, row: Row, state: RowState, kept: Sequence[Demonstration]
) -> RowState:
    asked = PromptInput(row, kept, state.shortlist)
    setup = pipeline.setups[state.language]
    (prompt,) = setup.prompts([asked], pipeline.engine, pipeline.budget)
    if isinstance(prompt, EcomfsError):
        return replace(state, prompt=None, demonstrations=tuple(kept), error=prompt)
    return replace(state, prompt=prompt, demonstrations=prompt.demonstrations)


def _influence(
    left_out: Demonstration,
    found: Posterior | EcomfsError | None,
    after: Prediction,
    place: int,
    before: float,
) -> Influence:
    if not isinstance(found, Posterior) or not found.probabilities:
        return Influence(left_out.example.id, None, None, None, after.error)
    without = found.probabilities[place]
    return Influence(left_out.example.id, without, before - without, after.suggestion)


__all__ = ["Influence", "Influences", "influences"]
