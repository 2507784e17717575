"""What every route needs: the tasks, and who is calling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, HTTPException, Query, Request
from pydantic import Field

from ecomfs.serve.keys import Caller, Keys, Scope
from ecomfs.serve.metrics import ServiceMetrics
from ecomfs.serve.runs import Runs, RunWorker
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
        max_rows, max_body_bytes: limits of a request.
        runs, workers: of each task, by its name.
        keys: of callers; ``None``: the service has none.
        compare: how variants of split traffic are compared.
    """

    tasks: Tasks
    metrics: ServiceMetrics
    max_rows: int
    max_body_bytes: int
    runs: Mapping[str, Runs]
    workers: Mapping[str, RunWorker]
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


def needs(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who must have a scope."""

    # Were it no coroutine, every request would pass through a thread for it.
    async def caller(request: Request) -> Caller:
        found: Caller = request.state.caller
        if not found.may(scope):
            raise HTTPException(403, f"the key {found.name!r} does not have the scope {scope!r}")
        return found

    return caller


Labeller = Annotated[Caller, Depends(needs("label"))]


def named(caller: Caller, reviewer: str | None) -> str:
    """Who stands beside a decision."""
    return reviewer.strip() or caller.name if caller.anonymous and reviewer else caller.name
