"""``/v1/runs``: upload a table, follow its scoring, download the result."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect

from ecomfs.batch import find_columns
from ecomfs.errors import ConflictError, InputError, NotFoundError, OutputError
from ecomfs.io import TableReader
from ecomfs.serve.api.context import Context, Labeller, Predicts, TaskQuery
from ecomfs.serve.api.reviews import AddedReviews
from ecomfs.serve.keys import Caller, parts_of
from ecomfs.serve.runs import FINAL, RunOut, Runs, drop, suffix_of, unsure_rows
from ecomfs.serve.schemas import Out, StorableText, problem_responses
from ecomfs.serve.tasks import ServedTask

RunId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="id of the run")]
_EVERY_SECONDS = 1.0


class RunsOut(Out):
    """The latest runs, the newest first."""

    runs: list[RunOut]


def routes(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/runs", responses=context.refusals(), tags=["runs"])
    table: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    }

    @router.get("")
    def latest(
        request: Request,
        caller: Predicts,
        task: TaskQuery = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> RunsOut:
        """List the latest runs of a task."""
        served = context.task(task, request)
        found = context.runs[served.key].latest(served.key, limit)
        return RunsOut(runs=[run_out(run) for run in found])

    @router.post("", status_code=201, openapi_extra=table, responses=problem_responses(507))
    async def upload(
        request: Request,
        caller: Predicts,
        name: Annotated[
            StorableText,
            Query(max_length=200, description="file name; its suffix is the format: reviews.csv"),
        ],
        task: TaskQuery = None,
    ) -> RunOut:
        """Score a table; the body is the file itself. The run is queued when the upload is complete
        and the columns are those of the task."""
        return run_out(await uploaded(context, context.task(task, request), request, name, caller))

    @router.get("/{id}")
    def one(request: Request, caller: Predicts, id: RunId) -> RunOut:
        """The progress of a run."""
        return run_out(find(context, caller, id)[1])

    @router.get(
        "/{id}/events",
        response_class=EventSourceResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(request: Request, caller: Predicts, id: RunId) -> EventSourceResponse:
        """The progress of a run as server-sent events: one at every change, until it has ended."""
        store, _ = await asyncio.to_thread(find, context, caller, id)
        return EventSourceResponse(_changes(store, id))

    @router.get(
        "/{id}/result",
        response_class=FileResponse,
        responses={
            **problem_responses(409),
            200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        },
    )
    def result(request: Request, caller: Predicts, id: RunId) -> FileResponse:
        """The table with its predictions."""
        store, run = find(context, caller, id)
        if run.state != "done":
            raise ConflictError(f"run {id} is {run.state}", hint="download it when it is done")
        file = store.result_of(run)
        if not file.is_file():
            raise NotFoundError(f"the result of run {id} is gone", hint="send the table again")
        stem = run.name[: -len(suffix_of(run.name))]
        return FileResponse(file, media_type="text/csv", filename=f"{stem}.scored.csv")

    @router.post("/{id}/reviews", responses=problem_responses(409))
    def reviews(
        request: Request,
        caller: Labeller,
        id: RunId,
        below: Annotated[float, Query(ge=0, le=1, description="confidence")] = 0.8,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> AddedReviews:
        """Queue rows of a finished run for review: rows that abstained, or with less confidence
        than ``below``, the least confident first. A row that is in the queue already is not added
        twice."""
        store, run = find(context, caller, id)
        if run.state != "done":
            raise ConflictError(f"run {id} is {run.state}", hint="wait until it is done")
        upload, scored = store.upload_of(run), store.result_of(run)
        if not (upload.is_file() and scored.is_file()):
            raise NotFoundError(f"the result of run {id} is gone", hint="send the table again")
        served = context.task(parts_of(run.task)[1], request)
        labels = served.pipeline.space.names
        found = unsure_rows(upload, scored, served.card, labels, below=below, most=limit)
        added = served.reviews.add(
            [served.masked(row) for row, _ in found],
            [prediction for _, prediction in found],
            source="run",
            by=caller.name,
            row_ids=[prediction.id for _, prediction in found],
        )
        return AddedReviews(reviews=added)

    @router.post("/{id}/cancel", responses=problem_responses(409))
    def cancel(request: Request, caller: Predicts, id: RunId) -> RunOut:
        """Stop a run."""
        store, run = find(context, caller, id)
        return run_out(store.cancel(run.id))

    return router


def find(context: Context, caller: Caller, id: str) -> tuple[Runs, RunOut]:
    """A run that the caller may see, and the store that has it.

    Raises:
        NotFoundError: there is no such run, or its task is not served any more.
    """
    seen = {task.key: task for task in context.tasks.visible(caller)}
    for store in context.runs.values():
        try:
            run = store.get(id)
        except NotFoundError:
            continue
        if run.task in seen:
            return store, run
        tenant, name = parts_of(run.task)
        if caller.sees(tenant, name) and run.task not in context.runs:
            raise NotFoundError(
                f"run {id} is of task {name!r}, which is not served any more",
                hint="serve the task again; the files of the run are kept",
            )
    raise NotFoundError(f"there is no run {id!r}", hint="see GET /v1/runs")


async def uploaded(
    context: Context, task: ServedTask, request: Request, name: str, caller: Caller
) -> RunOut:
    """Store the body of a request as the table of a new run.

    Raises:
        InputError: it is not a table of the task; nothing is kept.
        OutputError: it cannot be stored.
    """
    store = context.runs[task.key]
    end, id = suffix_of(name), uuid4().hex
    folder = store.folder_of(id)
    file = folder / f"upload{end}"
    try:
        folder.mkdir(parents=True)
        with file.open("xb") as out:
            async for chunk in request.stream():
                await asyncio.to_thread(out.write, chunk)
        await asyncio.to_thread(_check, task, str(file), name)
        return await asyncio.to_thread(store.add, id, task.key, name, caller.name)
    except ClientDisconnect:
        drop(folder)
        raise InputError("the upload is incomplete", hint="send it again") from None
    except OSError as error:
        drop(folder)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            "the disk of the service is full" if full else "the table cannot be stored",
            hint="try again later; nothing was stored",
        ) from error
    except BaseException:
        drop(folder)
        raise


def _check(task: ServedTask, file: str, name: str) -> None:
    try:
        reader = TableReader(file)
        find_columns(file, task.card, reader=reader)
    except InputError as error:
        message = error.message.replace(file, name).replace(file.rpartition("/")[2], name)
        hint = error.hint.replace(file, name).replace(file.rpartition("/")[2], name)
        raise type(error)(message, hint=hint) from error


async def _changes(store: Runs, id: str) -> AsyncIterator[dict[str, str]]:
    last = None
    while True:
        run = await asyncio.to_thread(store.get, id)
        state = run_out(run).model_dump()
        if state != last:
            last = state
            yield {"event": "run", "data": json.dumps(state)}
        if run.state in FINAL:
            return
        await asyncio.sleep(_EVERY_SECONDS)


def run_out(run: RunOut) -> RunOut:
    """A run for a response: with the name of its task instead of the key."""
    return run.model_copy(update={"task": parts_of(run.task)[1]})
