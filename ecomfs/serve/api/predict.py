"""``/v1/classify``, ``/v1/explain``, ``/v1/rank``, ``/v1/tasks`` and the health of the service."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request, Response
from pydantic import Field, JsonValue

from ecomfs.errors import ColumnError, EcomfsError, InputError
from ecomfs.serve.api.context import Context, Predicts, QuickRoute, requires
from ecomfs.serve.keys import Caller
from ecomfs.serve.problems import problem
from ecomfs.serve.schemas import (
    MAX_ROWS,
    Alive,
    ClassifyRequest,
    ClassifyResponse,
    EncodableText,
    ExplainRequest,
    ExplainResponse,
    Health,
    In,
    Out,
    PoolOut,
    StorableText,
    TaskName,
    problem_responses,
)
from ecomfs.serve.service import prediction_out
from ecomfs.serve.tasks import ServedTask
from ecomfs.task import TaskCard
from ecomfs.types import Status


class QueueOut(Out):
    """Numbers of reviews."""

    open: int
    decided: int


class TaskOut(Out):
    """One task of the service."""

    name: str
    card: str = Field(description="name of its task card")
    title: dict[str, str] = Field(description="language → title")
    fields: list[str] = Field(description="field names of a row")
    labels: list[str]
    engine: str
    k: int = Field(description="demonstrations per prompt")
    pool: PoolOut
    reviews: QueueOut
    problem: str = Field(description="why the current pool is not in use; empty if it is")


class TasksOut(Out):
    """The tasks that the caller may see."""

    tasks: list[TaskOut]


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
    top: Annotated[int, Field(ge=1)] | None = Field(None, description="length of the list")


class PlaceOut(Out):
    """An item with its rank."""

    id: str
    rank: int | None = Field(description="from 1; null if the item has no score")
    score: float | None = Field(description="probability of the positive label")
    status: Status
    error: str


class RankResponse(Out):
    """The items, the best first; then those without a score."""

    positive: str
    items: list[PlaceOut]


def routes(context: Context, card: TaskCard) -> APIRouter:
    """The routes; ``card`` gives the examples of the documentation."""
    refusals = context.refusals(504)
    router = APIRouter(responses=refusals, tags=["predictions"], route_class=QuickRoute)
    classify_body, explain_body = _bodies(card)

    @router.post("/v1/classify")
    async def classify(
        request: Request, caller: Predicts, body: ClassifyRequest = classify_body
    ) -> ClassifyResponse:
        """Classify rows: one prediction per row, in order. A row that cannot be classified has
        status `failed` and an `error`; the other rows are not affected."""
        task = context.task(body.task, request)
        if body.ids is not None and len(body.ids) != len(body.rows):
            raise InputError(
                f"{len(body.rows)} rows but {len(body.ids)} ids",
                hint="send one id per row, or no ids",
            )
        if body.ids is None and task.split is not None:
            raise InputError(
                "this service splits its traffic between variants by row ids, and ids are missing",
                hint="send ids: they select the variant, and match the log with gold labels",
            )
        ids = body.ids if body.ids is not None else [str(i) for i in range(len(body.rows))]
        rows = task.rows(body.rows)
        answers = await task.answer(rows, ids, log=True)
        context.metrics.answered(task.key, answers)
        unsure = [i for i, queued in enumerate(task.needs_review(answers)) if queued]
        if unsure:
            await asyncio.to_thread(
                task.reviews.add,
                [rows[i] for i in unsure],
                [answers[i].explanation.prediction for i in unsure],
                source="classify",
                by=caller.name,
                row_ids=[ids[i] for i in unsure] if body.ids is not None else None,
            )
        return ClassifyResponse(
            predictions=[prediction_out(a, explain=body.explain) for a in answers],
            labels=list(answers[0].explanation.labels),
        )

    @router.post("/v1/explain")
    async def explain(
        request: Request, caller: Predicts, body: ExplainRequest = explain_body
    ) -> ExplainResponse:
        """Explain how one row is classified: demonstrations, prompt, reading, prediction."""
        task = context.task(body.task, request)
        [answer] = await task.answer(task.rows([body.row]), [body.id])
        context.metrics.answered(task.key, [answer])
        return ExplainResponse(
            prediction=prediction_out(answer, explain=True),
            labels=list(answer.explanation.labels),
        )

    @router.post("/v1/rank")
    async def rank(request: Request, caller: Predicts, body: RankRequest) -> RankResponse:
        """Rank items by the probability that this user likes them. Each pair of user and item is
        one row of the task. The caller chooses the items and leaves out those that the user already
        has. If traffic is split, the first variant ranks all of them."""
        task = context.task(body.task, request)
        positive = _positive(task, body.positive)
        ids = [item.id for item in body.items]
        if len(set(ids)) < len(ids):
            raise InputError("two items have the same id", hint="give every item its own id")
        empty: RowFields = {spec.name: "" for spec in task.card.fields}
        rows = [empty | _own(task, body.user | item.fields) for item in body.items]
        answers = await task.answer(task.rows(rows), ids, together=True)
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

    @router.get("/v1/tasks")
    def tasks(request: Request, caller: Predicts) -> TasksOut:
        """List the tasks of this service that the caller may see."""
        return TasksOut(tasks=[task_out(task) for task in context.tasks.visible(caller)])

    return router


def health_routes(context: Context) -> APIRouter:
    """The routes that report the state of the service."""
    router = APIRouter(tags=["health"])
    keyed = problem_responses(401, 403, 429) if context.keys is not None else {}

    @router.get("/healthz", responses={**keyed, **problem_responses(404, 422, 503)})
    async def healthz(
        request: Request,
        caller: Predicts,
        task: Annotated[StorableText | None, Query(description="the task")] = None,
    ) -> Health:
        """The state of a task: labels, engine, pool, limits."""
        served = context.task(task, request)
        pipeline = await asyncio.to_thread(served.refresh)
        return Health(
            status="unhealthy" if served.engine_error else "stale" if served.problem else "ok",
            problem=served.problem,
            engine_error=served.engine_error,
            task=pipeline.card.name,
            labels=list(pipeline.space.names),
            fields=[spec.name for spec in pipeline.card.fields],
            engine=pipeline.engine.spec,
            fingerprint=pipeline.engine.fingerprint,
            k=pipeline.k,
            pool=_pool(served),
            max_rows=MAX_ROWS,
            max_body_bytes=context.max_body_bytes,
            version=version("ecomfs"),
            variants=served.split.variants() if served.split else [],
            unlogged=served.split.unlogged if served.split else 0,
        )

    @router.get("/livez")
    async def livez() -> Alive:
        """Liveness: the process responds. Needs no key."""
        return Alive(status="ok")

    @router.get("/readyz", response_model=Alive, responses=problem_responses(422, 503))
    def readyz(
        stale: Annotated[
            Literal["no", "ok"],
            Query(description="ok: a task that uses an older version of its pool counts as ready"),
        ] = "no",
    ) -> Any:
        """Readiness: every task can be served with its current pool. Needs no key, and names no
        task. If a current pool cannot be used, the service continues with its last usable version.
        """
        for task in context.tasks:
            try:
                task.reviews.counts()
            except EcomfsError:
                return problem(503, "a database cannot be read", hint="see the log")
            if task.engine_error:
                return problem(503, "an engine is unhealthy", hint="see GET /healthz")
            for service in task.services:
                service.refresh_unless_busy()
            if task.problem and stale == "no":
                why = "a pool cannot be used as it is now; its last usable version is in use"
                return problem(503, why, hint="see GET /healthz")
        return Alive(status="ok")

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            **keyed,
            **problem_responses(503),
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        },
    )
    def metrics(caller: Annotated[Caller, Depends(requires("admin"))]) -> Response:
        """Prometheus metrics of all tasks of all tenants."""
        if caller.tasks is not None or caller.tenant:
            hint = "use a key without tenant and tasks"
            raise HTTPException(403, f"the key {caller.name!r} sees some tasks only: {hint}")
        text = context.metrics.text(context.tasks)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _positive(task: ServedTask, wanted: str | None) -> str:
    name = wanted if wanted is not None else task.card.positive
    if name is None:
        names = ", ".join(task.pipeline.space.names[:12])
        raise InputError("the task names no positive label", hint=f"name one as positive: {names}")
    return task.label(name, "the positive label")


def _own(task: ServedTask, given: RowFields) -> RowFields:
    """The fields, after a check that the task has each of them: a misspelt one would be ignored."""
    names = [spec.name for spec in task.card.fields]
    for name in given:
        if name not in names:
            raise ColumnError(
                f"task {task.name!r} has no field {name!r}", hint=f"fields are: {', '.join(names)}"
            )
    return given


def task_out(task: ServedTask) -> TaskOut:
    """A task as ``GET /v1/tasks`` gives it."""
    pipeline = task.pipeline
    return TaskOut(
        name=task.name,
        card=pipeline.card.name,
        title={"en": pipeline.card.title.en, "zh": pipeline.card.title.zh},
        fields=[spec.name for spec in pipeline.card.fields],
        labels=list(pipeline.space.names),
        engine=pipeline.engine.spec,
        k=pipeline.k,
        pool=_pool(task),
        reviews=QueueOut.model_validate(task.reviews.counts()),
        problem=task.problem,
    )


def _pool(task: ServedTask) -> PoolOut:
    pipeline = task.pipeline
    size = 0 if pipeline.retriever is None else len(pipeline.retriever.examples)
    return PoolOut(size=size, version=pipeline.pool_version)


_CELLS: dict[str, Any] = {
    "number": 1,
    "price": 9.99,
    "date": "2026-01-31",
    "history": '["first", "latest"]',
    "json": "{}",
}
"""Kind → example cell for the documentation; for texts it is the title of the field."""


def example_row(card: TaskCard) -> dict[str, Any]:
    """A row of a task, for the documentation."""
    return {spec.name: _CELLS.get(spec.kind, spec.title.en) for spec in card.fields}


def _bodies(card: TaskCard) -> tuple[Any, Any]:
    """The two request bodies, with examples of this task."""
    row = example_row(card)
    classify: dict[str, Any] = {"objects": {"value": {"rows": [row], "ids": ["r1"]}}}
    needed = [spec for spec in card.fields if spec.required]
    if len(needed) == 1 and needed[0].kind == "text":
        classify["texts"] = {"value": {"rows": [needed[0].title.en], "explain": True}}
    return (
        Body(openapi_examples=classify),
        Body(openapi_examples={"object": {"value": {"row": row}}}),
    )
