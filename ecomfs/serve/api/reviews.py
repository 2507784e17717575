"""``/v1/reviews``: rows that wait for a person, and what people decided."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import Field, JsonValue

from ecomfs.errors import InputError
from ecomfs.serve.api.context import (
    Context,
    IdempotencyKey,
    Labeller,
    Reviewer,
    TaskQuery,
    named,
)
from ecomfs.serve.api.predict import example_row
from ecomfs.serve.keys import Caller
from ecomfs.serve.reviews import Decided, Review
from ecomfs.serve.schemas import MAX_ROWS, In, Out, PredictionOut, RowIn, StorableText, TaskName
from ecomfs.serve.service import prediction_out, unreadable
from ecomfs.serve.tasks import Again, ServedTask
from ecomfs.task import TaskCard

ReviewId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of the review")]
_Version = Annotated[
    int | None,
    Field(ge=1, le=2**31, description="of the review as you saw it; another one is 409"),
]


class ReviewOut(Out):
    """One row that waits for a person, or that one labelled."""

    id: str
    row_id: str = Field(description="as the sender called it")
    row: dict[str, JsonValue]
    state: Literal["open", "decided"]
    version: int
    skips: int
    label: str | None
    reviewer: str | None
    decided_at: str | None
    second_label: str | None
    second_reviewer: str | None
    suggestion: str | None = Field(description="the likeliest label by the latest prediction")
    uncertainty: float = Field(description="entropy of that prediction: 0 certain, 1 no idea")
    probabilities: dict[str, float]
    pool_version: int
    example_id: str = Field(description="of the example that its decision makes")
    source: str
    added_by: str
    added_at: str


class DecisionOut(Out):
    """One entry of the log."""

    review: str
    action: Literal["decide", "undo", "skip", "second"]
    label: str | None
    reviewer: str
    at: str
    pool_version: int


class AgainOut(Out):
    """A row before and after a decision."""

    review: str
    row: dict[str, JsonValue]
    similarity: float = Field(description="to the row that was decided; 1 for that row")
    before: dict[str, float]
    after: PredictionOut


class ReviewsOut(Out):
    """Part of a queue."""

    reviews: list[ReviewOut]
    open: int
    decided: int


class AddReviews(In):
    """Rows for a person; each is classified first."""

    task: TaskName = None
    rows: list[RowIn] = Field(min_length=1, max_length=MAX_ROWS)
    ids: list[StorableText] | None = Field(None, description="one per row")


class Decide(In):
    """A label for a row."""

    task: TaskName = None
    label: StorableText
    version: _Version = None
    new_label: bool = Field(False, description="take a label that an open task does not have yet")
    reviewer: Reviewer = None


class ChangeReview(In):
    """An undo or a skip."""

    task: TaskName = None
    version: _Version = None
    reviewer: Reviewer = None


class SecondOpinion(In):
    """Another person's label of a decided row."""

    task: TaskName = None
    label: StorableText
    reviewer: Reviewer = None


class AddedReviews(Out):
    """The reviews of the rows that were sent, in order; a row that was there is not added."""

    reviews: list[ReviewOut]


class ReviewResponse(Out):
    """A review after a change, and new predictions of it and of the open rows most like it."""

    review: ReviewOut
    predictions: list[AgainOut]


class ReviewHistory(Out):
    """A review and everything that was done to it, the newest first."""

    review: ReviewOut
    log: list[DecisionOut]


class DecisionsOut(Out):
    """The latest decisions, the newest first."""

    decisions: list[DecisionOut]


class AgreementOut(Out):
    """How two people agree on the rows that both labelled."""

    rows: int
    same: int
    kappa: float | None = Field(description="Cohen's kappa; null where it is not defined")
    conflicts: list[ReviewOut]


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
        state: Literal["open", "decided"] = "open",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> ReviewsOut:
        """Open rows, those first whose labels help most; or decided ones, the latest first."""
        served = context.task(task, request)
        if state == "open":
            found = served.waiting(limit, offset=offset)
        else:
            found = served.reviews.queue(limit, state=state, offset=offset)
        counts = served.reviews.counts()
        return ReviewsOut(reviews=[review_out(r) for r in found], **counts)

    @router.post("", responses=context.refusals(504))
    async def add(
        request: Request,
        caller: Labeller,
        body: AddReviews = row,
    ) -> AddedReviews:
        """Send rows to people. A row that is in the queue already, or was decided, is not added
        twice, so the request can be repeated."""
        if body.ids is not None and len(body.ids) != len(body.rows):
            raise InputError(
                f"{len(body.rows)} rows but {len(body.ids)} ids", hint="one id per row, or none"
            )
        served = context.task(body.task, request)
        rows = served.rows(body.rows)
        for place, value in enumerate(rows):
            if problem := unreadable(value):
                raise InputError(f"rows[{place}]: {problem}", hint="take it out, or leave it out")
        found = await add_reviews(served, rows, body.ids, source="api", by=caller.name)
        return AddedReviews(reviews=[review_out(r) for r in found])

    @router.get("/log")
    def log(
        request: Request,
        caller: Labeller,
        task: TaskQuery = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> DecisionsOut:
        """Who decided what, and when."""
        served = context.task(task, request)
        return DecisionsOut(decisions=[_decision(d) for d in served.reviews.log(limit)])

    @router.get("/agreement")
    def agreement(request: Request, caller: Labeller, task: TaskQuery = None) -> AgreementOut:
        """How two people agree on the rows that both labelled, and where they do not."""
        found = context.task(task, request).reviews.agreement()
        return AgreementOut(
            rows=found.rows,
            same=found.same,
            kappa=found.kappa,
            conflicts=[review_out(r) for r in found.conflicts],
        )

    @router.get("/{id}")
    def one(
        request: Request, caller: Labeller, id: ReviewId, task: TaskQuery = None
    ) -> ReviewHistory:
        """A review and its history."""
        reviews = context.task(task, request).reviews
        review = reviews.get(id)
        return ReviewHistory(
            review=review_out(review), log=[_decision(d) for d in reviews.log(1000, review=id)]
        )

    @router.post("/{id}/decide", responses=context.refusals(409))
    async def decide(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: Decide = decision,
        key: IdempotencyKey = None,
    ) -> ReviewResponse:
        """Label a row. It is an example of the pool at once; the answer has the new predictions
        of this row and of the open rows most like it."""
        served = context.task(body.task, request)
        label = served.label(body.label, f"review {id}", new=body.new_label)
        who = named(caller, body.reviewer)

        def write() -> dict[str, Any]:
            return {"id": served.reviews.decide(id, label, reviewer=who, version=body.version).id}

        return await _changed(served, caller, key, ("decide", id, body), write)

    @router.post("/{id}/undo", responses=context.refusals(409))
    async def undo(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: ChangeReview,
        key: IdempotencyKey = None,
    ) -> ReviewResponse:
        """Take a decision back: its example is retired, and the row waits again."""
        served = context.task(body.task, request)
        who = named(caller, body.reviewer)

        def write() -> dict[str, Any]:
            return {"id": served.reviews.undo(id, reviewer=who, version=body.version).id}

        return await _changed(served, caller, key, ("undo", id, body), write)

    @router.post("/{id}/skip", responses=context.refusals(409))
    def skip(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: ChangeReview,
        key: IdempotencyKey = None,
    ) -> ReviewHistory:
        """Pass a row over: it comes again after the others."""
        served = context.task(body.task, request)
        who = named(caller, body.reviewer)

        def write() -> dict[str, Any]:
            return {"id": served.reviews.skip(id, reviewer=who).id}

        served.repeats.once(caller.name, key, _asked("skip", id, body), write)
        return one(request, caller, id, body.task)

    @router.post("/{id}/second", responses=context.refusals(409))
    def second(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        body: SecondOpinion,
        key: IdempotencyKey = None,
    ) -> ReviewHistory:
        """Another person's label of a decided row; the pool keeps the first."""
        served = context.task(body.task, request)
        label = served.label(body.label, f"review {id}")
        who = named(caller, body.reviewer)

        def write() -> dict[str, Any]:
            return {"id": served.reviews.second(id, label, reviewer=who).id}

        served.repeats.once(caller.name, key, _asked("second", id, body), write)
        return one(request, caller, id, body.task)

    return router


async def _changed(
    served: ServedTask, caller: Caller, key: str | None, asked: tuple[str, str, In], write: Any
) -> ReviewResponse:
    await asyncio.to_thread(served.repeats.once, caller.name, key, _asked(*asked), write)
    review = await asyncio.to_thread(served.reviews.get, asked[1])
    again = await served.after(review)
    review = await asyncio.to_thread(served.reviews.get, asked[1])
    return ReviewResponse(review=review_out(review), predictions=[_again(a) for a in again])


async def add_reviews(
    served: ServedTask, rows: Any, ids: list[str] | None, *, source: str, by: str
) -> list[Review]:
    """Classify rows and queue them for a person."""
    named = ids if ids is not None else [str(i) for i in range(len(rows))]
    answers = await served.answer(rows, named)
    found = [a.explanation.prediction for a in answers]
    return await asyncio.to_thread(
        served.reviews.add, rows, found, source=source, by=by, row_ids=ids
    )


def _asked(action: str, id: str, body: In) -> dict[str, Any]:
    return {"action": action, "id": id, **body.model_dump()}


def review_out(review: Review) -> ReviewOut:
    """A review as it goes over the wire."""
    same = {n: getattr(review, n) for n in ReviewOut.model_fields if n != "row"}
    return ReviewOut(**same, row=dict(review.fields))


def _decision(entry: Decided) -> DecisionOut:
    return DecisionOut.model_validate(entry)


def _again(again: Again) -> AgainOut:
    return AgainOut(
        review=again.review.id,
        row=dict(again.review.fields),
        similarity=again.similarity,
        before=dict(again.before),
        after=prediction_out(again.after, explain=False),
    )
