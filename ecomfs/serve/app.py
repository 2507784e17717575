"""The HTTP application."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from fastapi import Body, FastAPI, Security
from fastapi.security import HTTPBearer

from ecomfs.errors import InputError
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import problems
from ecomfs.serve.guard import Guard
from ecomfs.serve.schemas import (
    MAX_ROWS,
    Alive,
    ClassifyRequest,
    ClassifyResponse,
    ExplainRequest,
    ExplainResponse,
    Health,
    PoolOut,
    problem_responses,
)
from ecomfs.serve.service import Service, prediction_out
from ecomfs.serve.split import SplitService
from ecomfs.task import TaskCard

MAX_BODY_BYTES = 8 * 1024 * 1024


def create_app(
    classifier: FewShotClassifier | SplitService,
    *,
    api_key: str | None = None,
    allowed_hosts: Collection[str] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> FastAPI:
    """A fitted classifier as an HTTP application.

    ``POST /v1/classify`` classifies up to 256 rows, ``POST /v1/explain`` explains one, ``GET
    /healthz`` describes what is served and whether the pool can be used, ``GET /livez`` answers
    while the process runs. Errors are problem documents (RFC 9457) with a ``hint``.

    Parameters
    ----------
    classifier : FewShotClassifier or SplitService
        Fitted; it keeps its engine. Or several that share the traffic.
    api_key : str, optional
        Every request but ``/livez`` and the documentation then needs ``Authorization: Bearer KEY``.
    allowed_hosts : collection of str, optional
        Accepted host names; ``None``: any. Without a key give the loopback names, or web pages
        could reach the service under another name (DNS rebinding).
    max_body_bytes : int
        Larger requests are refused with 413.

    Returns
    -------
    fastapi.FastAPI
        An ASGI application.

    Raises
    ------
    ConfigError
        The classifier is not fitted.

    Examples
    --------
    >>> clf = FewShotClassifier("review_sentiment")
    >>> create_app(clf)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: the classifier has no examples yet (call fit first)
    >>> app = create_app(clf.fit(texts, labels))                         # doctest: +SKIP
    """
    service = classifier if isinstance(classifier, SplitService) else Service(classifier)
    card = service.pipeline.card
    app = FastAPI(
        title=f"ecomfs: {card.title.en}",
        description=f"{card.description.en}\n\n{card.description.zh}",
        version=version("ecomfs"),
    )
    problems.install(app)
    app.add_middleware(
        Guard, api_key=api_key, allowed_hosts=allowed_hosts, max_body_bytes=max_body_bytes
    )
    # The guard checks the key; this only documents it.
    locked = [Security(HTTPBearer(auto_error=False))] if api_key else []
    documented: dict[str, Any] = {"dependencies": locked}
    keyed = problem_responses(401) if api_key else {}
    refusals = keyed | problem_responses(400, 413, 415, 422, 500, 503)
    classify_body, explain_body = _bodies(card)

    @app.post("/v1/classify", responses=refusals, **documented)
    async def classify(body: ClassifyRequest = classify_body) -> ClassifyResponse:
        """One prediction per row, in order. A row that cannot be classified has status `failed`
        and an `error`; the others are answered."""
        if body.ids is not None and len(body.ids) != len(body.rows):
            raise InputError(
                f"{len(body.rows)} rows but {len(body.ids)} ids",
                hint="one id per row, or none at all",
            )
        answers = await service.classify(body.rows, body.ids)
        return ClassifyResponse(
            predictions=[prediction_out(a, explain=body.explain) for a in answers],
            labels=list(answers[0].explanation.labels),
        )

    @app.post("/v1/explain", responses=refusals, **documented)
    async def explain(body: ExplainRequest = explain_body) -> ExplainResponse:
        """How one row is answered: demonstrations, prompt, reading, prediction."""
        [answer] = await service.explain([body.row], [body.id])
        return ExplainResponse(
            prediction=prediction_out(answer, explain=True),
            labels=list(answer.explanation.labels),
        )

    @app.get("/healthz", responses=keyed, **documented)
    async def healthz() -> Health:
        """What is served: task, labels, engine, pool, limits."""
        pipeline = await asyncio.to_thread(service.refresh)
        problem = service.problem
        return Health(
            status="unhealthy" if service.engine_error else "stale" if problem else "ok",
            problem=problem,
            engine_error=service.engine_error,
            task=pipeline.card.name,
            labels=list(pipeline.space.names),
            fields=[spec.name for spec in pipeline.card.fields],
            engine=pipeline.engine.spec,
            fingerprint=pipeline.engine.fingerprint,
            k=pipeline.k,
            pool=PoolOut(
                size=0 if pipeline.retriever is None else len(pipeline.retriever.examples),
                version=pipeline.pool_version,
            ),
            max_rows=MAX_ROWS,
            max_body_bytes=max_body_bytes,
            version=version("ecomfs"),
            variants=service.variants() if isinstance(service, SplitService) else [],
            unlogged=service.unlogged if isinstance(service, SplitService) else 0,
        )

    @app.get("/livez")
    async def livez() -> Alive:
        """The process answers; needs no key."""
        return Alive(status="ok")

    return app


_CELLS: dict[str, Any] = {
    "number": 1,
    "price": 9.99,
    "date": "2026-01-31",
    "history": '["first", "latest"]',
    "json": "{}",
}
"""Example cell of each kind, for the documentation; text is its field's title."""


def _bodies(card: TaskCard) -> tuple[Any, Any]:
    """The two request bodies, with examples of this task to try out in the documentation."""
    row = {spec.name: _CELLS.get(spec.kind, spec.title.en) for spec in card.fields}
    classify: dict[str, Any] = {"objects": {"value": {"rows": [row], "ids": ["r1"]}}}
    needed = [spec for spec in card.fields if spec.required]
    if len(needed) == 1 and needed[0].kind == "text":
        classify["texts"] = {"value": {"rows": [needed[0].title.en], "explain": True}}
    return (
        Body(openapi_examples=classify),
        Body(openapi_examples={"object": {"value": {"row": row}}}),
    )
