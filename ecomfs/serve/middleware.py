"""ASGI middleware: what happens to every request before and after the routes see it.

:class:`RequestLog`, the outermost one, assigns request ids and writes log lines.
:class:`CancelOnDisconnect` cancels the work of callers that disconnected. :class:`Guard` refuses
requests before their body is read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecomfs.serve.keys import LOCAL, Caller, Keys
from ecomfs.serve.metrics import ServiceMetrics
from ecomfs.serve.problems import error_location, internal, problem, stopping
from ecomfs.traffic import now

LEFT = 499
"""Logged instead of a status if the caller disconnected before the response."""
REQUESTS = "ecomfs.serve.requests"
"""Logger of the request lines; ``ecomfs serve --request-log FILE`` writes them."""
_log = logging.getLogger(REQUESTS)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Other methods share one metric label, so that callers cannot create new ones."""


class RequestLog:
    """Assigns request ids, writes one JSON log line per request, and measures times. Neither rows
    nor query strings are logged.

    The response has ``X-Request-Id``: the id of the caller, or a new one.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid4().hex
        started, status, begun = time.monotonic(), 500, False

        async def sending(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun = True
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except asyncio.CancelledError:
            # The server is stopping, and the time to finish is over.
            if not begun:
                await stopping()(scope, receive, sending)
        except Exception as error:
            # Not raised further: the server would log its message, which may quote a row.
            _log.error("request %s failed: %s", request_id, error_location(error))
            if not begun:
                await internal()(scope, receive, sending)
        finally:
            if not begun and scope.get("state", {}).get("left"):
                status = LEFT
            # The route's pattern, not the path: a path may hold an id.
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.monotonic() - started
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.request(route, method, status, seconds)
            if _log.isEnabledFor(logging.INFO):
                caller = scope.get("state", {}).get("caller")
                entry = {
                    "at": now(),
                    "request_id": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(1000 * seconds, 1),
                    "caller": getattr(caller, "name", None),
                }
                _log.info(json.dumps(entry))


class CancelOnDisconnect:
    """Cancels the application if the caller disconnects, because nobody would read the response.

    After the body of a request was read, it waits for the end of the connection while the
    application runs. Changes stored until then are kept. ``state.left`` tells that the caller left.
    Requests without a body are cheap and are not cancelled.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        leaving: asyncio.Future[asyncio.Task[Message]]
        leaving = asyncio.get_running_loop().create_future()
        answered = False

        async def receiving() -> Message:
            if leaving.done():
                return await asyncio.shield(leaving.result())
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                leaving.set_result(asyncio.ensure_future(_end(receive)))
            return message

        async def sending(message: Message) -> None:
            nonlocal answered
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered = True

        working = asyncio.ensure_future(self.app(scope, receiving, sending))
        try:
            waited: list[asyncio.Future[Any]] = [working, leaving]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                waited = [working, leaving.result()]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if working.done() or answered:
                await working
                return
            scope.setdefault("state", {})["left"] = True
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
        finally:
            # Also if this task itself is cancelled because the server stops.
            working.cancel()
            if leaving.done() and not leaving.cancelled():
                leaving.result().cancel()


async def _end(receive: Receive) -> Message:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message


OPEN_PATHS = frozenset({"/livez", "/readyz", "/docs", "/openapi.json", "/login"})
"""Paths that need no key, because they show no data."""
OPEN_FOLDER = "/static/"
UPLOADS = frozenset({"/v1/runs"})
"""Paths that accept a file."""
COOKIE = "ecomfs_session"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Guard:
    """Checks a request before its body is read, and sets ``state.caller``.

    Every web page that the user opens can reach a service on loopback: the host check prevents DNS
    rebinding; the checks of media type and origin prevent requests from other sites. A key comes in
    ``Authorization: Bearer``, or in the cookie of the sign-in page. The size of a body is counted
    while it arrives, whatever its header claims.

    Args:
        keys: API keys; ``None``: the service has none.
        allowed_hosts: accepted values of ``Host``; ``None``: any.
        max_body_bytes: largest body.
        max_upload_bytes: largest uploaded file.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys | None,
        allowed_hosts: Collection[str] | None,
        max_body_bytes: int,
        max_upload_bytes: int,
    ) -> None:
        self.app = app
        self._keys = keys
        self._hosts = None if allowed_hosts is None else {h.casefold() for h in allowed_hosts}
        self._max = max_body_bytes
        self._max_upload = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, self._counted(receive, self._limit(scope)), send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            return problem(
                400,
                "this host name is not served here",
                hint=f"use {', '.join(sorted(self._hosts))}",
            )
        path = scope["path"]
        caller, by_cookie = self._caller(headers)
        is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
        if caller is None and not is_open:
            return _who(scope, headers)
        scope.setdefault("state", {})["caller"] = caller
        if caller is not None and self._keys is not None and not is_open:
            wait = self._keys.wait(caller.name)
            if wait:
                return problem(
                    429,
                    f"key {caller.name!r} has reached its rate limit per minute",
                    hint="wait for the time in Retry-After",
                    headers={"Retry-After": str(math.ceil(wait))},
                )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            refusal = _cross_site(scope, headers, by_cookie)
            if refusal is not None:
                return refusal
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit(scope):
            return problem(413, _too_large(self._limit(scope)), hint="send less at once")
        return None

    def _caller(self, headers: Headers) -> tuple[Caller | None, bool]:
        """The caller, and whether a cookie identified it."""
        if self._keys is None:
            return LOCAL, False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            # Headers arrive decoded as Latin-1; compare the original bytes of the key.
            return self._keys.find(given.strip().encode("latin-1")), False
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return (None if cookie is None else self._keys.of_session(cookie)), True

    def _limit(self, scope: Scope) -> int:
        return self._max_upload if scope["path"] in UPLOADS else self._max

    def _counted(self, receive: Receive, limit: int) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise HTTPException(413, _too_large(limit))
            return message

        return counted


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit:,} bytes"


def _who(scope: Scope, headers: Headers) -> Response:
    """The response to a caller without a key; a browser is redirected to the sign-in page."""
    if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        return RedirectResponse(f"/login?next={quote(scope['path'], safe='/')}", 303)
    return problem(
        401,
        "wrong or missing API key",
        hint="send it as Authorization: Bearer KEY",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _cross_site(scope: Scope, headers: Headers, by_cookie: bool) -> Response | None:
    """Refuse requests that a page of another site can make a browser send."""
    path, media = scope["path"], headers.get("content-type", "").partition(";")[0].strip()
    media = media.casefold()
    if path in UPLOADS and media != "application/octet-stream":
        hint = "send the file itself, with Content-Type: application/octet-stream"
        return problem(415, "the body must be a file", hint=hint)
    if scope["method"] == "POST" and media != "application/json" and path not in UPLOADS:
        if path.startswith("/v1/"):
            return problem(415, "the body must be JSON", hint="send Content-Type: application/json")
        if media not in _FORMS:
            return problem(415, "the body must be a form", hint=f"send it as {_FORMS[1]}")
    if media not in _FORMS and not by_cookie:
        return None  # browsers send a CORS preflight for these, which is refused
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    same = origin is None or _netloc(origin) == headers.get("host", "")
    if not same or site not in (None, "same-origin", "none"):
        return problem(
            403, "the request was sent by another site", hint="use the page of this service"
        )
    return None


def _netloc(origin: str) -> str | None:
    """Host and port of an ``Origin`` header; ``None`` if it is not a URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _host(header: str) -> str:
    """The name in a ``Host`` header.

    >>> _host("LOCALHOST:8080"), _host("[::1]:8080"), _host("::1")
    ('localhost', '::1', '::1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0].casefold()
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdecimal() and ":" not in name else header).casefold()
