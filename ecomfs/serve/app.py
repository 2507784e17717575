"""The HTTP application."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import problems
from ecomfs.serve.api import ab, examples, predict, reviews, runs
from ecomfs.serve.api.context import Context
from ecomfs.serve.keys import SCOPES, ApiKey, Keys, digest_of
from ecomfs.serve.metrics import ServiceMetrics
from ecomfs.serve.middleware import CancelOnDisconnect, Guard, RequestLog
from ecomfs.serve.pages import reference, views
from ecomfs.serve.pages.render import HERE
from ecomfs.serve.runs import Runs, RunWorker, drop
from ecomfs.serve.split import Compare, SplitService
from ecomfs.serve.tasks import ServedTask, Tasks

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_UPLOAD_BYTES = 256 * 1024 * 1024


def create_app(
    classifier: FewShotClassifier | SplitService | Mapping[str, FewShotClassifier | SplitService],
    *,
    tenants: Mapping[str, Mapping[str, FewShotClassifier | SplitService]] | None = None,
    api_key: str | None = None,
    keys: Collection[ApiKey] = (),
    allowed_hosts: Collection[str] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
    deadline: float = 60.0,
    review_below: float | Mapping[str, float | None] | None = None,
    runs_folder: str | Path | None = None,
    compare: Compare | None = None,
) -> FastAPI:
    """Fitted classifiers as an HTTP application, with the pages where people correct them.

    ``POST /v1/classify`` classifies up to 256 rows, ``/v1/reviews`` are the rows that wait for a
    person, ``/v1/examples`` the labelled examples; ``GET /docs`` describes all of it. Errors are
    problem documents (RFC 9457) with a ``hint``.

    Parameters
    ----------
    classifier : FewShotClassifier, SplitService, or a mapping of str to these
        Fitted; it keeps its engine. Several by the name that callers use for the task.
    tenants : mapping of str to a mapping of str to these, optional
        Tenant → the tasks that only keys of this tenant see. Give each its own pool.
    api_key : str, optional
        A key that may do everything. With it, or with ``keys``, every request but ``/livez``,
        ``/readyz`` and the documentation needs ``Authorization: Bearer KEY``.
    keys : collection of ApiKey
        Further keys with their scopes and tasks; only their hashes are known.
    allowed_hosts : collection of str, optional
        Accepted host names; ``None``: any. Without a key give the loopback names, or web pages
        could reach the service under another name (DNS rebinding).
    max_body_bytes, max_upload_bytes : int
        Larger requests, and larger files of runs, are refused with 413.
    deadline : float
        Seconds that predictions of a request may take; then the answer is 504.
    review_below : float, or a mapping of task to float, optional
        Queue predictions with less confidence for review, and those that abstained. By default
        only what is sent to ``POST /v1/reviews`` is queued.
    runs_folder : str or Path, optional
        Where uploaded tables and their results are kept; by default until the service stops.
    compare : callable, optional
        How variants of split traffic are compared on labelled rows; ``ecomfs serve`` gives
        ``ecomfs.ab.compare_log``.

    Returns
    -------
    fastapi.FastAPI
        An ASGI application.

    Raises
    ------
    ConfigError
        A classifier is not fitted, there is none, or a key is wrong.

    Examples
    --------
    >>> clf = FewShotClassifier("review_sentiment")
    >>> create_app(clf)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: the classifier has no examples yet (call fit first)
    >>> app = create_app(clf.fit(texts, labels))                         # doctest: +SKIP
    """
    tasks = _tasks(classifier, tenants or {}, deadline, review_below)
    if api_key:
        keys = [ApiKey("admin", digest_of(api_key), frozenset(SCOPES)), *keys]
    known = Keys(keys) if keys else None
    metrics = ServiceMetrics()
    folder = Path(runs_folder or tempfile.mkdtemp(prefix="ecomfs-runs-"))
    runs_of = {task.key: Runs(task.pool.database, folder) for task in tasks}
    workers = [RunWorker(runs_of[task.key], task.key, task.refresh) for task in tasks]
    context = Context(tasks, metrics, max_body_bytes, runs_of, known, compare)
    card = next(iter(tasks)).card
    several = len(runs_of) > 1
    app = FastAPI(
        title="ecomfs" if several else f"ecomfs: {card.title.en}",
        description="Labels of rows, and the labelled examples they come from."
        if several
        else f"{card.description.en}\n\n{card.description.zh}",
        version=version("ecomfs"),
        docs_url=None,
        redoc_url=None,
        lifespan=_working(workers, None if runs_folder else folder),
    )
    problems.install(app)
    app.add_middleware(
        Guard,
        keys=known,
        allowed_hosts=allowed_hosts,
        max_body_bytes=max_body_bytes,
        max_upload_bytes=max_upload_bytes,
    )
    app.add_middleware(CancelOnDisconnect)
    app.add_middleware(RequestLog, metrics=metrics)
    # The guard checks the key; this only documents it.
    locked = [Security(HTTPBearer(auto_error=False))] if known else []
    for router in (
        predict.routes(context, card),
        reviews.routes(context, card),
        examples.routes(context, card),
        ab.routes(context),
        runs.routes(context),
    ):
        app.include_router(router, dependencies=locked)
    for router in (predict.health_routes(context), views.routes(context), reference.routes(app)):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    return app


def _working(
    workers: Iterable[RunWorker], temporary: Path | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Runs are scored while the application is up."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            # All are told before one is waited for.
            for worker in workers:
                worker.request_stop()
            await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in workers))
            if temporary is not None:
                drop(temporary)

    return lifespan


def _tasks(
    given: FewShotClassifier | SplitService | Mapping[str, FewShotClassifier | SplitService],
    tenants: Mapping[str, Mapping[str, FewShotClassifier | SplitService]],
    deadline: float,
    below: float | Mapping[str, float | None] | None,
) -> Tasks:
    of_tenants: dict[str, Mapping[Any, FewShotClassifier | SplitService]] = {
        "": given if isinstance(given, Mapping) else {None: given},
        **tenants,
    }
    made = [
        ServedTask(name, served, deadline=deadline, tenant=tenant)
        for tenant, of_tenant in of_tenants.items()
        for name, served in of_tenant.items()
    ]
    if not made:
        raise ConfigError("no task to serve", hint="give a fitted classifier")
    for task in made:
        task.review_below = below.get(task.name) if isinstance(below, Mapping) else below
    return Tasks(made)
