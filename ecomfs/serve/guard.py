"""What a request must satisfy before any of its body is read.

A service on loopback is reachable from every web page the user opens: the host check stops DNS
rebinding; the check of media type and origin stops what another site's page sends. A key comes
in ``Authorization: Bearer``, or in the cookie that the sign-in page sets. A body is counted as it
arrives, whatever its header claims.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecomfs.serve.keys import LOCAL, Caller, Keys
from ecomfs.serve.problems import problem

OPEN_PATHS = frozenset({"/livez", "/readyz", "/docs", "/openapi.json", "/login"})
"""Paths that need no key: they show nothing of the data."""
OPEN_FOLDER = "/static/"
UPLOADS = frozenset({"/v1/runs"})
"""Paths that take a file."""
COOKIE = "ecomfs_session"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Guard:
    """ASGI middleware. The caller of a request is in its ``state.caller``.

    Args:
        keys: of callers; ``None``: the service has none.
        allowed_hosts: names that may stand in ``Host``; ``None``: any.
        max_body_bytes: largest body.
        max_upload_bytes: largest file of a run.
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
                    f"key {caller.name!r} has sent its requests of this minute",
                    hint="wait as long as Retry-After says",
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
        """Who it is, and whether a cookie says so."""
        if self._keys is None:
            return LOCAL, False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            # Header bytes arrive as Latin-1 text; the key is compared as the bytes it was sent.
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
    """The answer to a caller without a key: a browser is sent to the sign-in page."""
    if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        return RedirectResponse(f"/login?next={quote(scope['path'], safe='/')}", 303)
    return problem(
        401,
        "wrong or missing API key",
        hint="send it as Authorization: Bearer KEY",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _cross_site(scope: Scope, headers: Headers, by_cookie: bool) -> Response | None:
    """Refuse what a page of another site can make a browser send."""
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
        return None  # a browser asks first before it sends these elsewhere, and is refused
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    same = origin is None or urlsplit(origin).netloc == headers.get("host", "")
    if not same or site not in (None, "same-origin", "none"):
        return problem(
            403, "this was sent by a page of another site", hint="open the service's own page"
        )
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
