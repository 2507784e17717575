"""Request ids, one log line per request, and times. Neither rows nor queries are logged."""

from __future__ import annotations

import json
import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecomfs.serve.metrics import ServiceMetrics

_log = logging.getLogger("ecomfs.serve.requests")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Observer:
    """ASGI middleware: the outermost one.

    The response has ``X-Request-Id``: the caller's own, or a new one. The log line is JSON.
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
        started, status = time.monotonic(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            # The route's pattern, not the path: a path may hold an id.
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.monotonic() - started
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.request(route, method, status, seconds)
            caller = scope.get("state", {}).get("caller")
            entry = {
                "request_id": request_id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "caller": getattr(caller, "name", None),
            }
            _log.info(json.dumps(entry))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others share one label, so that a caller cannot make new ones."""
