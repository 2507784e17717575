"""Request ids, one log line per request, and times. Neither rows nor queries are logged."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecomfs.serve.faults import fault
from ecomfs.serve.metrics import ServiceMetrics
from ecomfs.serve.problems import internal, stopping
from ecomfs.serve.reviews import now

LEFT = 499
"""Logged in place of a status when the caller left before there was an answer."""
REQUESTS = "ecomfs.serve.requests"
"""Logger of the lines; ``ecomfs serve --request-log FILE`` writes them."""
_log = logging.getLogger(REQUESTS)
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
            # The server stops, and the time to finish is over.
            if not begun:
                await stopping()(scope, receive, sending)
        except Exception as error:
            # Raised further, the server would log its message, which may quote a row.
            _log.error("request %s failed: %s", request_id, fault(error))
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


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others share one label, so that a caller cannot make new ones."""
