"""What routes share: the tasks, the caller, and a fast path for the most frequent requests."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from fastapi import Depends, Header, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import ClientDisconnect

from ecomfs.serve.keys import Caller, Keys, Scope
from ecomfs.serve.metrics import ServiceMetrics
from ecomfs.serve.runs import Runs
from ecomfs.serve.schemas import StorableText, problem_responses
from ecomfs.serve.split import Compare
from ecomfs.serve.tasks import ServedTask, Tasks

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="makes a write repeatable: a repeated request gets the first response",
    ),
]
Reviewer = Annotated[
    Annotated[StorableText, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")] | None,
    Field(
        description="who decides, if the service has no keys; otherwise the name of the key",
    ),
]


TaskQuery = Annotated[StorableText | None, Query(description="the task, if there are several")]


@dataclass(frozen=True, slots=True)
class Context:
    """Objects that the routes share.

    Attributes:
        max_body_bytes: limit of a request.
        runs: key of a task → its runs.
        keys: API keys; ``None``: the service has none.
        compare: function that compares the variants of split traffic.
    """

    tasks: Tasks
    metrics: ServiceMetrics
    max_body_bytes: int
    runs: Mapping[str, Runs]
    keys: Keys | None = None
    compare: Compare | None = None

    def task(self, name: str | None, request: Request) -> ServedTask:
        """The task that a request is for.

        Raises:
            NotFoundError, InputError: see :meth:`Tasks.find`.
        """
        return self.tasks.find(name, request.state.caller)

    def refusals(self, *more: int) -> dict[int | str, dict[str, Any]]:
        """The documentation of the errors of every route, and of further status codes."""
        keyed = (401, 403, 429) if self.keys is not None else ()
        return problem_responses(400, *keyed, 404, 413, 415, 422, 500, 503, *more)


def requires(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A FastAPI dependency that returns the caller, who must have a scope."""

    # A coroutine, because FastAPI would run a plain function in a thread for every request.
    async def caller(request: Request) -> Caller:
        found: Caller = request.state.caller
        if not found.may(scope):
            raise HTTPException(403, f"the key {found.name!r} does not have the scope {scope!r}")
        return found

    return caller


Predicts = Annotated[Caller, Depends(requires("classify"))]
Labeller = Annotated[Caller, Depends(requires("label"))]


def reviewer_name(caller: Caller, reviewer: str | None) -> str:
    """The name recorded with a decision."""
    return reviewer.strip() or caller.name if caller.anonymous and reviewer else caller.name


_PARAMETERS = {"request", "caller", "body"}


class QuickRoute(APIRoute):
    """A fast route for handlers with the parameters ``request``, ``caller`` and ``body``.

    FastAPI's parsing, validation and dependency injection cost more than the request itself. This
    route parses the bytes directly into the model of the body, and serialises the model of the
    response. An invalid body is passed to FastAPI, which reports the error. Other handlers use
    FastAPI's own route.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route."""
        handler, endpoint = super().get_route_handler(), self.endpoint
        if set(inspect.signature(endpoint).parameters) != _PARAMETERS:
            return handler
        model: type[BaseModel] = get_type_hints(endpoint)["body"]
        [who] = [d.call for d in self.dependant.dependencies if d.name == "caller"]
        assert who is not None

        async def handling(request: Request) -> Response:
            try:
                sent = await request.body()
            except ClientDisconnect:
                raise HTTPException(400, "the body is incomplete") from None
            caller = await who(request)
            try:
                body = model.model_validate_json(sent)
            except ValidationError:
                return await handler(request)
            answer: BaseModel = await endpoint(request=request, caller=caller, body=body)
            return Response(answer.model_dump_json(), media_type="application/json")

        return handling
