"""``/v1/rank``: items for a user, the likeliest to be liked first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field, JsonValue

from ecomfs.errors import ColumnError, InputError
from ecomfs.serve.api.context import Context, needs
from ecomfs.serve.keys import Caller
from ecomfs.serve.schemas import MAX_ROWS, EncodableText, In, Out, TaskName
from ecomfs.serve.tasks import ServedTask
from ecomfs.types import Status

RowFields = dict[EncodableText, JsonValue]


class RankedItem(In):
    """An item to rank."""

    id: EncodableText
    fields: RowFields = Field(description="the fields of the task that describe the item")


class RankRequest(In):
    """A user and the items to choose from."""

    task: TaskName = None
    user: RowFields = Field(description="the fields of the task that describe the user")
    items: list[RankedItem] = Field(min_length=1, max_length=MAX_ROWS)
    positive: EncodableText | None = Field(
        None, description="the label whose probability is the score; by default the card's"
    )
    top: Annotated[int, Field(ge=1)] | None = Field(None, description="only the best so many")


class PlaceOut(Out):
    """An item at its place."""

    id: str
    rank: int | None = Field(description="from 1; null when the item has no score")
    score: float | None = Field(description="probability of the positive label")
    status: Status
    error: str


class RankResponse(Out):
    """The items, the best first; then those without a score."""

    positive: str
    items: list[PlaceOut]


def routes(context: Context) -> APIRouter:
    """The route."""
    router = APIRouter(responses=context.refusals(504), tags=["predictions"])

    @router.post("/v1/rank")
    async def rank(
        request: Request, caller: Annotated[Caller, Depends(needs("classify"))], body: RankRequest
    ) -> RankResponse:
        """Order the items by the probability that this user likes them. Each pair of user and item
        is one row of the task; the caller chooses the items, and leaves out those that the user
        has."""
        task = context.task(body.task, request)
        positive = _positive(task, body.positive)
        ids = [item.id for item in body.items]
        if len(set(ids)) < len(ids):
            raise InputError("two items have the same id", hint="every item needs its own")
        empty: RowFields = {spec.name: "" for spec in task.card.fields}
        rows = [empty | _own(task, body.user | item.fields) for item in body.items]
        answers = await task.answer(task.rows(rows), ids)
        context.metrics.answered(task.key, answers)
        found = [answer.explanation.prediction for answer in answers]
        found.sort(key=lambda p: -p.probabilities.get(positive, -1.0))
        out = []
        for place, p in enumerate(found, 1):
            score = p.probabilities.get(positive)
            if score is None or body.top is None or place <= body.top:
                out.append(
                    PlaceOut(
                        id=p.id,
                        rank=None if score is None else place,
                        score=score,
                        status=p.status,
                        error=p.error,
                    )
                )
        return RankResponse(positive=positive, items=out)

    return router


def _positive(task: ServedTask, wanted: str | None) -> str:
    name = wanted if wanted is not None else task.card.positive
    if name is None:
        names = ", ".join(task.pipeline.space.names[:12])
        raise InputError("the task names no positive label", hint=f"name one as positive: {names}")
    return task.label(name, "the positive label")


def _own(task: ServedTask, given: RowFields) -> RowFields:
    """The fields, none of which the task does not have: a misspelt one would not count."""
    names = [spec.name for spec in task.card.fields]
    for name in given:
        if name not in names:
            raise ColumnError(
                f"task {task.name!r} has no field {name!r}", hint=f"fields are: {', '.join(names)}"
            )
    return given
