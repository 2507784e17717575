"""``/v1/reviews``: rows that wait for review, and decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import Field

from ecomfs.batch import check_cells
from ecomfs.errors import InputError
from ecomfs.serve.api.context import (
    Context,
    IdempotencyKey,
    Labeller,
    Reviewer,
    TaskQuery,
    reviewer_name,
)
from ecomfs.serve.api.predict import example_row
from ecomfs.serve.keys import Caller
from ecomfs.serve.reviews import AgainOut, AgreementOut, DecisionOut, ReviewOut, State
from ecomfs.serve.schemas import MAX_ROWS, In, Out, RowIn, StorableText, TaskName
from ecomfs.serve.service import unreadable
from ecomfs.serve.tasks import ServedTask
from ecomfs.task import TaskCard, first_empty
from ecomfs.types import Row

ReviewId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="id of the review")]
_Version = Annotated[
    int | None,
    Field(ge=1, le=2**31, description="version of the review as you saw it; 409 if it has changed"),
]


class ReviewsOut(Out):
    """Part of a queue."""

    reviews: list[ReviewOut]
    open: int
    decided: int


class AddReviews(In):
    """Rows to review; each is classified first."""

    task: TaskName = None
    rows: list[RowIn] = Field(min_length=1, max_length=MAX_ROWS)
    ids: list[StorableText] | None = Field(None, description="one per row")


class Decide(In):
    """A label for a row."""

    task: TaskName = None
    label: StorableText
    version: _Version = None
    new_label: bool = Field(False, description="accept a label that an open task does not have yet")
    reviewer: Reviewer = None


class ChangeReview(In):
    """An undo or a skip."""

    task: TaskName = None
    version: _Version = None
    reviewer: Reviewer = None


class SecondOpinion(In):
    """Another person's label for a decided row."""

    task: TaskName = None
    label: StorableText
    reviewer: Reviewer = None


class AddedReviews(Out):
    """The reviews of the rows in the request, in order; a row that has one is not added again."""

    reviews: list[ReviewOut]


class ReviewResponse(Out):
    """A review after a change, and new predictions for it and for the most similar open rows."""

    review: ReviewOut
    predictions: list[AgainOut]
    unpredicted: str = Field(
        "", description="why there are no new predictions; the change is stored"
    )


class ReviewHistory(Out):
    """A review and its history, the newest first."""

    review: ReviewOut
    log: list[DecisionOut]


class DecisionsOut(Out):
    """The latest decisions, the newest first."""

    decisions: list[DecisionOut]


def routes(context: Context, card: TaskCard) -> APIRouter:
    """The routes; ``card`` gives the examples of the documentation."""
    router = APIRouter(prefix="/v1/reviews", responses=context.refusals(), tags=["reviews"])
    label = card.labels[0].name if card.labels else "label"
    row: Any = Body(
        openapi_examples={"objects": {"value": {"rows": [example_row(card)], "ids": ["r1"]}}}
    )
    decision: Any = Body(openapi_examples={"a label": {"value": {"label": label, "version": 1}}})

    @router.get("")
    def queue(
        request: Request,
        caller: Labeller,
        task: TaskQuery = None,
        state: State = "open",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> ReviewsOut:
        """List open reviews, the most useful to label first; or decided ones, the latest first."""
        served = context.task(task, request)
        if state == "open":
            found = served.waiting(limit, offset=offset)
        else:
            found = served.reviews.queue(limit, state=state, offset=offset)
        counts = served.reviews.counts()
        return ReviewsOut(reviews=found, **counts)

    @router.post("", responses=context.refusals(504))
    async def add(
        request: Request,
        caller: Labeller,
        body: AddReviews = row,
    ) -> AddedReviews:
        """Queue rows for review. A row that is in the queue already, or was decided, is not added
        twice, so the request can be repeated. A row that cannot be an example is refused: a
        required field is empty, or a value does not fit its field."""
        if body.ids is not None and len(body.ids) != len(body.rows):
            raise InputError(
                f"{len(body.rows)} rows but {len(body.ids)} ids",
                hint="send one id per row, or no ids",
            )
        served = context.task(body.task, request)
        rows = served.rows(body.rows)
        found = await add_reviews(served, rows, body.ids, source="api", by=caller.name)
        return AddedReviews(reviews=found)

    @router.get("/log")
    def log(
        request: Request,
        caller: Labeller,
        task: TaskQuery = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> DecisionsOut:
        """List the latest decisions: reviewer, label and time."""
        served = context.task(task, request)
        return DecisionsOut(decisions=served.reviews.log(limit))

    @router.get("/agreement")
    def agreement(request: Request, caller: Labeller, task: TaskQuery = None) -> AgreementOut:
        """The agreement of two people on the rows that both labelled, and their conflicts."""
        return context.task(task, request).reviews.agreement()

    @router.get("/{id}")
    def one(
        request: Request, caller: Labeller, id: ReviewId, task: TaskQuery = None
    ) -> ReviewHistory:
        """A review and its history."""
        reviews = context.task(task, request).reviews
        return ReviewHistory(review=reviews.get(id), log=reviews.log(1000, review=id))

    @router.post("/{id}/decide", responses=context.refusals(409))
    async def decide(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: Decide = decision,
        key: IdempotencyKey = None,
    ) -> ReviewResponse:
        """Label a row. It becomes an example of the pool at once. The response has new predictions
        for this row and for the most similar open rows."""
        served = context.task(body.task, request)
        label = served.label(body.label, f"review {id}", new=body.new_label)
        who = reviewer_name(caller, body.reviewer)
        decide = partial(served.reviews.decide, id, label, reviewer=who, version=body.version)
        await asyncio.to_thread(_once, served, caller, key, "decide", id, body, decide)
        return await _predicted_again(served, id)

    @router.post("/{id}/undo", responses=context.refusals(409))
    async def undo(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: ChangeReview,
        key: IdempotencyKey = None,
    ) -> ReviewResponse:
        """Undo a decision: its example is retired, and the row waits for review again."""
        served = context.task(body.task, request)
        who = reviewer_name(caller, body.reviewer)
        undo = partial(served.reviews.undo, id, reviewer=who, version=body.version)
        await asyncio.to_thread(_once, served, caller, key, "undo", id, body, undo)
        return await _predicted_again(served, id)

    @router.post("/{id}/skip", responses=context.refusals(409))
    def skip(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: ChangeReview,
        key: IdempotencyKey = None,
    ) -> ReviewHistory:
        """Skip a row: it comes again after the others."""
        served = context.task(body.task, request)
        who = reviewer_name(caller, body.reviewer)
        skip = partial(served.reviews.skip, id, reviewer=who, version=body.version)
        _once(served, caller, key, "skip", id, body, skip)
        return one(request, caller, id, body.task)

    @router.post("/{id}/second", responses=context.refusals(409))
    def second(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: SecondOpinion,
        key: IdempotencyKey = None,
    ) -> ReviewHistory:
        """Add another person's label for a decided row; the pool keeps the first label."""
        served = context.task(body.task, request)
        label = served.label(body.label, f"review {id}")
        who = reviewer_name(caller, body.reviewer)
        second = partial(served.reviews.second, id, label, reviewer=who)
        _once(served, caller, key, "second", id, body, second)
        return one(request, caller, id, body.task)

    return router


def _once(
    served: ServedTask,
    caller: Caller,
    key: str | None,
    action: str,
    id: str,
    body: In,
    change: Callable[[], ReviewOut],
) -> None:
    """Change a review, unless an earlier request with this idempotency key already did."""
    asked = {"action": action, "id": id, **body.model_dump()}
    served.idempotent_writes.once(caller.name, key, asked, lambda: {"id": change().id})


async def _predicted_again(served: ServedTask, id: str) -> ReviewResponse:
    again, why = await served.predict_again(await asyncio.to_thread(served.reviews.get, id))
    review = await asyncio.to_thread(served.reviews.get, id)
    return ReviewResponse(review=review, predictions=again, unpredicted=why)


def _check_example(card: TaskCard, row: Row, where: str) -> None:
    problem, empty = unreadable(row), first_empty(row, card)
    if problem or empty is not None:
        why = problem or f"field {empty!r} is empty"
        raise InputError(f"{where}: {why}", hint="correct the row, or remove it")
    check_cells(card, row, where)


async def add_reviews(
    served: ServedTask, rows: Sequence[Row], ids: list[str] | None, *, source: str, by: str
) -> list[ReviewOut]:
    """Classify rows and queue them for review.

    Raises:
        InputError: a row cannot be an example, so a decision could not add it to the pool.
    """
    for place, row in enumerate(rows):
        _check_example(served.card, row, f"rows[{place}]")
    named = ids if ids is not None else [str(i) for i in range(len(rows))]
    answers = await served.answer(rows, named)
    found = [a.explanation.prediction for a in answers]
    return await asyncio.to_thread(
        served.reviews.add, rows, found, source=source, by=by, row_ids=ids
    )
