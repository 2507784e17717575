"""What routes share: the tasks, who is calling, and a quick way for those that are asked most."""

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
        description="of a write that may be sent again: the first one's answer is given",
    ),
]
Reviewer = Annotated[
    Annotated[StorableText, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")] | None,
    Field(
        description="who decides, where the service has no keys; otherwise it is the key's name",
    ),
]


TaskQuery = Annotated[StorableText | None, Query(description="which task, of several")]


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes share.

    Attributes:
        max_body_bytes: limit of a request.
        runs: of each task, by its key.
        keys: of callers; ``None``: the service has none.
        compare: how variants of split traffic are compared.
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
        """The documentation of the errors that every route can answer, and some more."""
        keyed = (401, 403, 429) if self.keys is not None else ()
        return problem_responses(400, *keyed, 404, 413, 415, 422, 500, 503, *more)


def requires(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who must have a scope."""

    # Were it no coroutine, every request would pass through a thread for it.
    async def caller(request: Request) -> Caller:
        found: Caller = request.state.caller
        if not found.may(scope):
            raise HTTPException(403, f"the key {found.name!r} does not have the scope {scope!r}")
        return found

    return caller


Predicts = Annotated[Caller, Depends(requires("classify"))]
Labeller = Annotated[Caller, Depends(requires("label"))]


def reviewer_name(caller: Caller, reviewer: str | None) -> str:
    """Who stands beside a decision."""
    return reviewer.strip() or caller.name if caller.anonymous and reviewer else caller.name


_PARAMETERS = {"request", "caller", "body"}


class QuickRoute(APIRoute):
    """A route of ``request``, ``caller`` and ``body``.

    FastAPI parses a body, validates it, solves dependencies and validates the answer in steps that
    cost more than the request itself. Here the bytes become the body's model, and the answer's
    model becomes bytes. A body that is not valid is left to FastAPI, which says what is wrong.
    Other routes of the router are FastAPI's own.
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
                raise HTTPException(400, "the body was cut short") from None
            caller = await who(request)
            try:
                body = model.model_validate_json(sent)
            except ValidationError:
                return await handler(request)
            answer: BaseModel = await endpoint(request=request, caller=caller, body=body)
            return Response(answer.model_dump_json(), media_type="application/json")

        return handling
