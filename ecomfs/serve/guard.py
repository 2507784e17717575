"""What a request must satisfy before any of its body is read.

A service on loopback is reachable from every web page the user opens: the host check stops DNS
rebinding, the media-type check stops cross-site form posts. The key is compared in constant
time. A body is counted as it arrives, whatever its header claims.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecomfs.serve.problems import problem

OPEN_PATHS = frozenset({"/livez", "/docs", "/redoc", "/openapi.json"})
"""Paths that need no key: they show nothing of the data."""


class Guard:
    """ASGI middleware.

    Args:
        api_key: bearer key every request needs; ``None``: none.
        allowed_hosts: names that may stand in ``Host``; ``None``: any.
        max_body_bytes: largest body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_key: str | None,
        allowed_hosts: Collection[str] | None,
        max_body_bytes: int,
    ) -> None:
        self.app = app
        self._key = api_key.encode() if api_key else None
        self._hosts = None if allowed_hosts is None else {h.casefold() for h in allowed_hosts}
        self._max = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, self._counted(receive), send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            return problem(
                400,
                "this host name is not served here",
                hint=f"use {', '.join(sorted(self._hosts))}",
            )
        if self._key is not None and scope["path"] not in OPEN_PATHS:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # Header bytes arrive as Latin-1 text; the key is compared as the bytes it was sent.
            same = hmac.compare_digest(given.strip().encode("latin-1"), self._key)
            if scheme.casefold() != "bearer" or not same:
                return problem(
                    401,
                    "wrong or missing API key",
                    hint="send it as Authorization: Bearer KEY",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        if scope["method"] == "POST":
            media = headers.get("content-type", "").partition(";")[0].strip().casefold()
            if media != "application/json":
                return problem(
                    415, "the body must be JSON", hint="send Content-Type: application/json"
                )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max:
            return self._too_large()
        return None

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max:
                    raise HTTPException(413, self._limit())
            return message

        return counted

    def _limit(self) -> str:
        return f"the body is larger than {self._max:,} bytes"

    def _too_large(self) -> Response:
        return problem(413, self._limit(), hint="send fewer rows per request")


def _host(header: str) -> str:
    """The name in a ``Host`` header.

    >>> _host("LOCALHOST:8080"), _host("[::1]:8080"), _host("::1")
    ('localhost', '::1', '::1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0].casefold()
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdecimal() and ":" not in name else header).casefold()
