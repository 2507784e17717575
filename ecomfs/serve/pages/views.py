"""The pages: overview, try it, review, examples, sign in."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ecomfs.errors import InputError, NotFoundError
from ecomfs.serve.api.ab import results
from ecomfs.serve.api.context import Context, Labeller, Predicts, TaskQuery, reviewer_name
from ecomfs.serve.api.examples import (
    AddExamples,
    made_examples,
    matching,
    noted,
    unchanged_since,
)
from ecomfs.serve.api.reviews import ReviewId, add_reviews
from ecomfs.serve.api.runs import RunId, find
from ecomfs.serve.keys import SESSION_SECONDS, Caller
from ecomfs.serve.metrics import TaskTotals, label_drift
from ecomfs.serve.middleware import COOKIE
from ecomfs.serve.pages import quality
from ecomfs.serve.pages.render import PageRoute, page
from ecomfs.serve.runs import SUFFIXES
from ecomfs.serve.schemas import StorableText
from ecomfs.serve.tasks import ServedTask

_Text = Annotated[StorableText, Form()]
_MANY = 9
"""Number of labels with a shortcut key; with more labels, the likeliest ones have it."""
_PAGE = 25
"""Examples per page."""
_LOG = 15
"""Number of decisions shown."""


def routes(context: Context) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    def shared(request: Request, name: str | None, here: str) -> dict[str, Any]:
        """The values that every page needs: its task, and the tasks to choose from."""
        seen = context.tasks.visible(request.state.caller)
        if not seen:
            raise NotFoundError(
                "this key has access to no task", hint="ask the operator of the service"
            )
        task = context.tasks.find(name or seen[0].name, request.state.caller)
        keyed = context.keys is not None
        return {"task": task, "tasks": seen, "here": here, "signed_in": keyed}

    @router.get("/")
    def overview(request: Request, caller: Predicts, task: TaskQuery = None) -> HTMLResponse:
        """The tasks of the service and their state."""
        served = context.tasks.visible(caller)
        cards = [_card(each, context.metrics.totals.get(each.key, TaskTotals())) for each in served]
        return page(request, "overview.html", cards=cards, **shared(request, task, "overview"))

    # -- try it ------------------------------------------------------------------------------------

    @router.get("/try")
    def try_it(request: Request, caller: Predicts, task: TaskQuery = None) -> HTMLResponse:
        """A form for one row."""
        return page(request, "try.html", **shared(request, task, "try"))

    @router.post("/try")
    async def tried(request: Request, caller: Predicts, task: _Text) -> HTMLResponse:
        """The prediction for one row, with its explanation."""
        served = context.tasks.find(task, caller)
        row = await _row_of(request, served)
        [answer] = await served.answer(served.rows([row]), ["page"])
        context.metrics.answered(served.key, [answer])
        found = answer.explanation
        shown = found.to_dict()
        return page(request, "try_result.html", task=served, row=row, found=found, shown=shown)

    @router.post("/try/review")
    async def to_review(request: Request, caller: Labeller, task: _Text) -> HTMLResponse:
        """Queue the row for review."""
        served = context.tasks.find(task, caller)
        rows = served.rows([await _row_of(request, served)])
        [review] = await add_reviews(served, rows, None, source="page", by=caller.name)
        return page(request, "try_queued.html", task=served, review=review)

    # -- review ------------------------------------------------------------------------------------

    @router.get("/review")
    def review(request: Request, caller: Labeller, task: TaskQuery = None) -> HTMLResponse:
        """The next row to review, and the latest decisions."""
        values = shared(request, task, "review")
        served = values["task"]
        return page(request, "review.html", **values, **_desk(served), **_done(served, caller))

    @router.post("/review/{id}/{action}")
    async def reviewed(
        request: Request,
        caller: Labeller,
        id: ReviewId,
        action: str,
        task: _Text,
        version: Annotated[int | None, Form()] = None,
        label: _Text = "",
        reviewer: Annotated[StorableText, Form(max_length=80, pattern=r"^[^\x00-\x1f]*$")] = "",
    ) -> HTMLResponse:
        """A decision, an undo or a skip; then the next row."""
        served = context.tasks.find(task, caller)
        who = reviewer_name(caller, reviewer)
        reviews = served.reviews
        if action == "decide":
            spelt = served.label(label, f"review {id}")
            done = await asyncio.to_thread(reviews.decide, id, spelt, reviewer=who, version=version)
        elif action == "undo":
            done = await asyncio.to_thread(reviews.undo, id, reviewer=who, version=version)
        elif action == "skip":
            done = await asyncio.to_thread(reviews.skip, id, reviewer=who)
        elif action == "second":
            spelt = served.label(label, f"review {id}")
            done = await asyncio.to_thread(reviews.second, id, spelt, reviewer=who)
            values = await asyncio.to_thread(_done, served, caller)
            return page(request, "review_done.html", task=served, **values)
        else:
            raise NotFoundError(f"unknown action {action!r}", hint="use decide, undo or skip")
        again, why = await served.predict_again(done) if action in ("decide", "undo") else ([], "")
        values = await asyncio.to_thread(_desk, served)
        values |= {"done": done, "action": action, "again": again, "why": why}
        return page(request, "review_desk.html", task=served, **values)

    @router.get("/review/done")
    def done(request: Request, caller: Labeller, task: TaskQuery = None) -> HTMLResponse:
        """The latest decisions, and the agreement of two people."""
        served = context.task(task, request)
        return page(request, "review_done.html", task=served, **_done(served, caller))

    # -- examples ----------------------------------------------------------------------------------

    @router.get("/examples")
    def examples(
        request: Request,
        caller: Labeller,
        task: TaskQuery = None,
        label: str = "",
        q: str = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> HTMLResponse:
        """The labelled examples."""
        values = shared(request, task, "examples")
        served = values["task"]
        version, all_ = served.examples()
        found = matching(served, all_, label or None, q)
        labels = served.pool.stats().labels
        return page(
            request,
            "examples.html",
            **values,
            found=found[offset : offset + _PAGE],
            total=len(found),
            version=version,
            coverage=labels,
            most=max(labels.values(), default=1),
            label=label,
            q=q,
            offset=offset,
            size=_PAGE,
        )

    @router.get("/examples/quality")
    def compared(request: Request, caller: Labeller, task: TaskQuery = None) -> HTMLResponse:
        """Conflicting and duplicate examples."""
        served = context.task(task, request)
        looked = served.examples()[1][: quality.MOST]
        apart, same = quality.duplicates(looked, [served.text(e.fields) for e in looked])
        return page(
            request, "quality.html", task=served, apart=apart[:50], same=same[:50], n=len(looked)
        )

    @router.get("/examples/history")
    def history(
        request: Request, caller: Labeller, id: StorableText, task: TaskQuery = None
    ) -> HTMLResponse:
        """Every state of an example."""
        served = context.task(task, request)
        return page(request, "history.html", states=served.pool.history(id))

    @router.post("/examples/change")
    def change(
        request: Request,
        caller: Labeller,
        task: _Text,
        id: _Text,
        version: Annotated[int, Form()],
        action: _Text,
        label: _Text = "",
    ) -> HTMLResponse:
        """Relabel or retire an example; returns its new table row."""
        served = context.tasks.find(task, caller)
        with served.pool.database.writing():
            unchanged_since(served, [id], version)
            if action == "retire":
                new = served.pool.retire([id], noted("", caller))
            else:
                spelt = served.label(label, f"example {id!r}")
                new = served.pool.relabel(id, spelt, noted("", caller))
        example = served.pool.history(id)[-1].example
        return page(request, "example_row.html", task=served, e=example, version=new, action=action)

    @router.post("/examples/add")
    async def add(request: Request, caller: Labeller, task: _Text, label: _Text) -> HTMLResponse:
        """Add an example; returns its table row."""
        served = context.tasks.find(task, caller)
        new_one = {"row": await _row_of(request, served), "label": label}
        body = AddExamples.model_validate({"examples": [new_one]})
        made = await asyncio.to_thread(made_examples, served, body)
        new = await asyncio.to_thread(served.pool.add, made, noted("", caller))
        return page(request, "example_row.html", task=served, e=made[0], version=new, action="add")

    # -- runs --------------------------------------------------------------------------------------

    @router.get("/runs")
    def listed(request: Request, caller: Predicts, task: TaskQuery = None) -> HTMLResponse:
        """Uploaded tables and their progress."""
        values = shared(request, task, "runs")
        served = values["task"]
        found = context.runs[served.key].latest(served.key, 50)
        return page(request, "runs.html", **values, runs=found, suffixes=SUFFIXES)

    @router.get("/runs/{id}")
    def run_row(request: Request, caller: Predicts, id: RunId) -> HTMLResponse:
        """The table row of one run."""
        return page(request, "run_row.html", run=find(context, caller, id)[1])

    @router.post("/runs/{id}/cancel")
    def cancelled(request: Request, caller: Predicts, id: RunId) -> HTMLResponse:
        """Cancel a run; returns its table row."""
        store, run = find(context, caller, id)
        return page(request, "run_row.html", run=store.cancel(run.id))

    # -- a/b ---------------------------------------------------------------------------------------

    @router.get("/ab")
    def variants(request: Request, caller: Predicts, task: TaskQuery = None) -> HTMLResponse:
        """The variants of split traffic, and their comparison so far."""
        values = shared(request, task, "ab")
        found = results(context, values["task"]) if values["task"].split else None
        return page(request, "ab.html", **values, found=found)

    # -- sign in -----------------------------------------------------------------------------------

    @router.get("/login")
    def login(request: Request, next: str = "/") -> HTMLResponse:
        """A form for a key."""
        return page(request, "login.html", next=_inside(next), wrong=False)

    @router.post("/login")
    def signed_in(
        request: Request, key: Annotated[str, Form()], next: Annotated[str, Form()] = "/"
    ) -> Response:
        """Store the signed name of the key in a cookie that scripts and other sites cannot use."""
        caller = None if context.keys is None else context.keys.find(key.strip())
        if caller is None or context.keys is None:
            return page(request, "login.html", status=401, next=_inside(next), wrong=True)
        response = RedirectResponse(_inside(next), 303)
        response.set_cookie(
            COOKIE,
            context.keys.session(caller.name),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @router.post("/logout")
    def signed_out(request: Request) -> Response:
        """Delete the cookie."""
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    return router


def _inside(path: str) -> str:
    """The path if it is one of this service, else ``/``.

    >>> _inside("/review"), _inside("//evil.example"), _inside("https://evil.example")
    ('/review', '/', '/')
    >>> _inside("//[")
    '/'
    """
    try:
        parts = urlsplit(path)
    except ValueError:  # brackets without an address between them
        return "/"
    inside = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if inside and not parts.scheme and not parts.netloc else "/"


async def _row_of(request: Request, served: ServedTask) -> dict[str, Any]:
    """The row of a form: fields are named ``f.NAME``."""
    form = await request.form()
    names = {f"f.{spec.name}": spec.name for spec in served.card.fields}
    row = {names[key]: str(value) for key, value in form.items() if key in names}
    if not row:
        raise InputError("the form has no field of the task", hint="load the page again")
    return row


def _card(task: ServedTask, totals: TaskTotals) -> dict[str, Any]:
    """A task on the overview."""
    labels = [e.label for e in task.examples()[1]]
    tokens = totals.prompt_tokens
    return {
        "task": task,
        "size": len(labels),
        "counts": task.reviews.counts(),
        "totals": totals,
        "cache": totals.cached_tokens / tokens if tokens else None,
        "drift": label_drift(totals.labels, labels) if totals.labels else None,
        "problem": task.problem or task.engine_error,
    }


def _desk(task: ServedTask) -> dict[str, Any]:
    """The next row to review, with the labels in the order of their shortcut keys."""
    review = next(iter(task.waiting(1)), None)
    names = list(task.pipeline.space.names)
    if len(names) > _MANY and review is not None:
        shares = review.probabilities
        names.sort(key=lambda name: -shares.get(name, 0.0))
    return {"review": review, "choices": names[:_MANY], "counts": task.reviews.counts()}


def _done(task: ServedTask, caller: Caller) -> dict[str, Any]:
    """The log, the agreement, and a row for a second opinion."""
    latest = task.reviews.queue(50, state="decided")
    waiting = [r for r in latest if r.second_label is None]
    if not caller.anonymous:
        waiting = [r for r in waiting if r.reviewer != caller.name]
    return {
        "log": task.reviews.log(_LOG),
        "agreement": task.reviews.agreement(),
        "second": waiting[0] if waiting else None,
    }
