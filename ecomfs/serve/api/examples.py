"""``/v1/examples``: the labelled examples of a pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import Field, JsonValue

from ecomfs.batch import make_example
from ecomfs.errors import ConflictError, InputError, NotFoundError
from ecomfs.serve.api.context import Context, IdempotencyKey, Labeller, TaskQuery
from ecomfs.serve.api.predict import example_row
from ecomfs.serve.keys import Caller
from ecomfs.serve.schemas import MAX_ROWS, In, Out, RowIn, StorableText, TaskName
from ecomfs.serve.tasks import ServedTask
from ecomfs.task import TaskCard
from ecomfs.types import Example

_Note = Annotated[StorableText, Field(max_length=500, description="reason, kept in the history")]
_Version = Annotated[
    int | None,
    Field(ge=0, le=2**31, description="version of the pool as you saw it; 409 if it has changed"),
]


class ExampleOut(Out):
    """One labelled example."""

    id: str
    row: dict[str, JsonValue]
    label: str
    synthetic: bool
    source_id: str = Field(description="id of the source of a synthetic example")


class ExamplesOut(Out):
    """Part of the examples."""

    examples: list[ExampleOut]
    total: int = Field(description="number of examples that match")
    version: int = Field(description="version of the pool")
    labels: dict[str, int] = Field(description="label → number of examples in the pool")


class NewExample(In):
    """An example to add."""

    row: RowIn
    label: StorableText
    id: StorableText | None = Field(None, description="by default a hash of the row")


class AddExamples(In):
    """Examples to add: all of them, or none."""

    task: TaskName = None
    examples: list[NewExample] = Field(min_length=1, max_length=MAX_ROWS)
    new_label: bool = Field(False, description="accept labels that an open task does not have yet")
    note: _Note = ""


class Relabel(In):
    """Another label for an example."""

    task: TaskName = None
    id: StorableText
    label: StorableText
    version: _Version = None
    new_label: bool = Field(False, description="accept a label that an open task does not have yet")
    note: _Note = ""


class Retire(In):
    """Examples to remove; older versions of the pool keep them."""

    task: TaskName = None
    ids: list[StorableText] = Field(min_length=1, max_length=1000)
    version: _Version = None
    note: _Note = ""


class ChangedPool(Out):
    """The pool after a change."""

    version: int
    ids: list[str] = Field(description="ids of the examples in the request")


class StateOut(Out):
    """One state of an example."""

    label: str
    added_in: int = Field(description="first version of the pool with this state")
    retired_in: int | None = Field(description="first later version without it")
    at: str
    note: str


class HistoryOut(Out):
    """Every state of an example, the oldest first."""

    id: str
    row: dict[str, JsonValue]
    states: list[StateOut]


class VersionOut(Out):
    """One version of the pool, and the change that made it."""

    version: int
    at: str
    action: Literal["add", "relabel", "retire"]
    examples: int
    note: str


class VersionsOut(Out):
    """The latest versions of the pool, the newest first."""

    versions: list[VersionOut]


def routes(context: Context, card: TaskCard) -> APIRouter:
    """The routes; ``card`` gives the examples of the documentation."""
    router = APIRouter(prefix="/v1/examples", responses=context.refusals(), tags=["examples"])
    label = card.labels[0].name if card.labels else "label"
    one = {"examples": [{"row": example_row(card), "label": label}]}
    new: Any = Body(openapi_examples={"one": {"value": one}})
    relabelled: Any = Body(
        openapi_examples={"one": {"value": {"id": "e1", "label": label, "note": "misread"}}}
    )

    @router.get("")
    def listed(
        request: Request,
        caller: Labeller,
        task: TaskQuery = None,
        label: Annotated[StorableText | None, Query(description="only with this label")] = None,
        q: Annotated[StorableText | None, Query(description="text that the row contains")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> ExamplesOut:
        """List the current examples, in the order in which they were added."""
        served = context.task(task, request)
        version, all_ = served.examples()
        found = matching(served, all_, label, q)
        return ExamplesOut(
            examples=[_example(e) for e in found[offset : offset + limit]],
            total=len(found),
            version=version,
            labels=dict(served.pool.stats().labels),
        )

    @router.post("", responses=context.refusals(409))
    def add(
        request: Request,
        caller: Labeller,
        body: AddExamples = new,
        key: IdempotencyKey = None,
    ) -> ChangedPool:
        """Add examples. They are used from the next prediction on."""
        served = context.task(body.task, request)
        made = made_examples(served, body)
        add = partial(served.pool.add, made, noted(body.note, caller))
        return _changed(served, caller, key, {"add": body}, [e.id for e in made], add)

    @router.post("/relabel", responses=context.refusals(409))
    def relabel(
        request: Request,
        caller: Labeller,
        body: Relabel = relabelled,
        key: IdempotencyKey = None,
    ) -> ChangedPool:
        """Change the label of an example. It is used from the next prediction on."""
        served = context.task(body.task, request)
        label = served.label(body.label, f"example {body.id!r}", new=body.new_label)

        def relabel() -> int:
            unchanged_since(served, [body.id], body.version)
            return served.pool.relabel(body.id, label, noted(body.note, caller))

        return _changed(served, caller, key, {"relabel": body}, [body.id], relabel)

    @router.post("/retire", responses=context.refusals(409))
    def retire(
        request: Request, caller: Labeller, body: Retire, key: IdempotencyKey = None
    ) -> ChangedPool:
        """Remove examples: all of them, or none."""
        served = context.task(body.task, request)

        def retire() -> int:
            unchanged_since(served, body.ids, body.version)
            return served.pool.retire(body.ids, noted(body.note, caller))

        ids = list(dict.fromkeys(body.ids))
        return _changed(served, caller, key, {"retire": body}, ids, retire)

    @router.get("/history")
    def history(
        request: Request,
        caller: Labeller,
        id: Annotated[StorableText, Query(description="id of the example")],
        task: TaskQuery = None,
    ) -> HistoryOut:
        """List every state that an example has had."""
        states = context.task(task, request).pool.history(id)
        if not states:
            raise NotFoundError(f"the pool never had an example {id!r}", hint="check the id")
        return HistoryOut(
            id=id,
            row=dict(states[-1].example.fields),
            states=[
                StateOut(
                    label=s.example.label,
                    added_in=s.added_in,
                    retired_in=s.retired_in,
                    at=s.at,
                    note=s.note,
                )
                for s in states
            ],
        )

    @router.get("/versions")
    def versions(
        request: Request,
        caller: Labeller,
        task: TaskQuery = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> VersionsOut:
        """List the latest versions of the pool and the changes that made them."""
        changes = context.task(task, request).pool.changes()[-limit:]
        return VersionsOut(versions=[VersionOut.model_validate(c) for c in reversed(changes)])

    return router


def _changed(
    served: ServedTask,
    caller: Caller,
    key: str | None,
    asked: dict[str, In],
    ids: list[str],
    change: Callable[[], int],
) -> ChangedPool:
    """Change the pool, unless an earlier request with this idempotency key already did."""
    request = {action: body.model_dump() for action, body in asked.items()}
    done = served.idempotent_writes.once(caller.name, key, request, lambda: {"version": change()})
    return ChangedPool(version=done["version"], ids=ids)


def matching(
    served: ServedTask, examples: list[Example], label: str | None, q: str | None
) -> list[Example]:
    """Examples with a label and a text, ignoring case."""
    wanted = (q or "").casefold().strip()
    return [
        e
        for e in examples
        if (label is None or e.label == label)
        and (not wanted or wanted in served.text(e.fields).casefold() or wanted == e.id.casefold())
    ]


def made_examples(served: ServedTask, body: AddExamples) -> list[Example]:
    """The examples of a request, with the same checks as for a file.

    Raises:
        InputError: a row, a label or an id cannot be used; the message says which.
    """
    rows = served.rows([new.row for new in body.examples])
    made = []
    for place, (new, row) in enumerate(zip(body.examples, rows, strict=True)):
        label = served.label(new.label, f"examples[{place}]", new=body.new_label)
        try:
            made.append(make_example(served.card, None, dict(row), label, new.id))
        except InputError as error:
            raise type(error)(f"examples[{place}]: {error.message}", hint=error.hint) from error
    return made


def unchanged_since(served: ServedTask, ids: list[str], version: int | None) -> None:
    """Refuse a change of examples that do not exist, or that were changed after ``version``.

    Raises:
        NotFoundError: an id is not in the pool.
        ConflictError: an example was changed.
    """
    for id in dict.fromkeys(ids):
        alive = [s for s in served.pool.history(id) if s.retired_in is None]
        if not alive:
            raise NotFoundError(f"the pool has no example {id!r}", hint="check the id")
        if version is not None and alive[0].added_in > version:
            raise ConflictError(
                f"example {id!r} was changed in version {alive[0].added_in} of the pool, after "
                f"{version}",
                hint="load it again: it was changed in the meantime",
            )


def _example(e: Example) -> ExampleOut:
    return ExampleOut(
        id=e.id, row=dict(e.fields), label=e.label, synthetic=e.synthetic, source_id=e.source_id
    )


def noted(note: str, caller: Caller) -> str:
    """The note with the name of the caller."""
    by = "" if caller.anonymous else f"by {caller.name}"
    return ": ".join(filter(None, [by, note]))
