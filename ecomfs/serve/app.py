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
from ecomfs.serve.tables import session_secret
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
    """An HTTP application for fitted classifiers, with web pages for reviews.

    ``POST /v1/classify`` classifies up to 256 rows, ``/v1/reviews`` has the rows that wait for
    review, ``/v1/examples`` the labelled examples; ``GET /docs`` describes all routes. Errors are
    problem documents (RFC 9457) with a ``hint``.

    Parameters
    ----------
    classifier : FewShotClassifier, SplitService, or a mapping of str to these
        Fitted, with its engine; for several tasks, a mapping from the name that callers use.
    tenants : mapping of str to a mapping of str to these, optional
        Tenant → tasks that only keys of this tenant see. Give each task its own pool.
    api_key : str, optional
        A key with all scopes. With it, or with ``keys``, every request except ``/livez``,
        ``/readyz`` and the documentation needs ``Authorization: Bearer KEY``.
    keys : collection of ApiKey
        Further keys with scopes and tasks, given by their hashes.
    allowed_hosts : collection of str, optional
        Accepted host names; ``None``: any. Without a key, use the loopback names; otherwise web
        pages could reach the service under another name (DNS rebinding).
    max_body_bytes, max_upload_bytes : int
        Larger requests, and larger uploads, are refused with 413.
    deadline : float
        Time limit of the predictions of a request in seconds; then the response is 504.
    review_below : float, or a mapping of task to float, optional
        Queue predictions for review that abstained or have less confidence. By default only rows
        sent to ``POST /v1/reviews`` are queued.
    runs_folder : str or Path, optional
        Folder of uploaded tables and their results; by default a temporary folder.
    compare : callable, optional
        Compares the variants of split traffic on labelled rows; ``ecomfs serve`` uses
        ``ecomfs.ab.compare_log``.

    Returns
    -------
    fastapi.FastAPI
        An ASGI application.

    Raises
    ------
    ConfigError
        A classifier is not fitted, there is none, or a key is invalid.

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
        # A key from a file often ends with a line feed, which no header of a caller can have.
        if not api_key.strip():
            raise ConfigError("the API key is blank", hint="give a key, such as: ecomfs key admin")
        if any(key.name == "admin" for key in keys):
            raise ConfigError(
                "two keys are named 'admin'",
                hint="--api-key and ECOMFS_API_KEY have this name; rename the other one",
            )
        keys = [ApiKey("admin", digest_of(api_key.strip()), frozenset(SCOPES)), *keys]
    first = next(iter(tasks))
    known = Keys(keys, session_secret(first.pool.database)) if keys else None
    metrics = ServiceMetrics()
    folder = Path(runs_folder or tempfile.mkdtemp(prefix="ecomfs-runs-"))
    runs_of = {task.key: Runs(task.pool.database, folder) for task in tasks}
    workers = [RunWorker(runs_of[task.key], task.key, task.refresh) for task in tasks]
    context = Context(tasks, metrics, max_body_bytes, runs_of, known, compare)
    card = first.card
    several = len(runs_of) > 1
    app = FastAPI(
        title="ecomfs" if several else f"ecomfs: {card.title.en}",
        description="Classifies rows, and manages reviews and labelled examples."
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
    # Guard checks the key; this is only for the documentation.
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
    """A lifespan that scores runs while the application is up."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            # Request all stops before waiting for any.
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
