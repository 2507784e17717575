"""JSON over HTTP for engines and the client: sessions, time-outs, exceptions for failures.

Retries are in :mod:`ecomfs.core.retry`. A session belongs to one event loop and one process, so a
client keeps one per loop and starts again after a fork.
"""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic_core import from_json, to_json

from ecomfs.core import event_loop
from ecomfs.core.retry import BUSY_STATUS, retry_after
from ecomfs.errors import (
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    ServerStatusError,
)

_CONNECT_SECONDS = 10.0
MOST_BYTES = 256 * 2**20
"""Largest response, decompressed: a small compressed one can become gigabytes."""
_Sessions = dict[asyncio.AbstractEventLoop, aiohttp.ClientSession]


def masked(url: str) -> str:
    """A URL for messages, without the user name and password that it may contain.

    >>> masked("http://shop:secret@10.0.0.7:8000/v1"), masked("http://10.0.0.7:8000")
    ('http://***@10.0.0.7:8000/v1', 'http://10.0.0.7:8000')
    """
    return _USER_INFO.sub(r"\1***@", url)


_USER_INFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP response.

    Attributes:
        url: address of the server, without the path.
        status: HTTP status.
        headers: header names in any case → values.
        content: the body.
        connected: when a connection was opened for it, in the event loop's seconds; ``None`` when
            an open connection was reused.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    connected: float | None = None

    def json_object(self) -> dict[str, Any] | None:
        """The body as a JSON object; ``None`` when it is not one."""
        try:
            value = from_json(self.content)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    @property
    def text(self) -> str:
        """The beginning of the body on one line, for error messages."""
        return " ".join(self.content.decode("utf-8", "replace").split())[:200]

    def retryable_error(self, message: str) -> ServerStatusError:
        """The exception for a status for which a retry may help."""
        seconds = retry_after(self.headers.get("Retry-After"))
        return ServerStatusError(message, seconds=seconds, busy=self.status in BUSY_STATUS)


_PART_BYTES = 2**20
_JSON = {"Content-Type": "application/json"}


class HttpClient:
    """Sends requests; usable from any event loop, and in a forked process.

    Redirects are not followed, so that no key is sent to another server. Proxies set in the
    environment are not used, so that data for a server on this machine stays on it.

    Args:
        api_key: sent as bearer token; ``None``: no token is sent.
        timeout: seconds one request may take.
        start_hint: how to start the server, for the error when nothing listens.
        slow_hint: how to avoid a time-out.
        most_bytes: largest response, decompressed.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        timeout: float,
        start_hint: str,
        slow_hint: str,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._most_bytes = most_bytes
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = timeout
        self._start_hint = start_hint
        self._slow_hint = slow_hint
        self._sessions: _Sessions = {}
        self._owner = os.getpid()
        # A client that is dropped without close must not leave connections open.
        weakref.finalize(self, _close_dropped, self._sessions, self._owner)

    async def request(
        self,
        method: str,
        url: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Send one request and read the whole response, whatever its status.

        Args:
            method: such as ``"POST"``.
            url, path: address of the server, without a trailing slash, and a path below it.
            body: sent as JSON; ``bytes`` are sent unchanged; ``None``: no body.
            headers: further headers; ``Content-Type`` is JSON unless given here.
            timeout: seconds; default: the client's.

        Raises:
            EngineUnavailableError: nothing listens there (its cause is aiohttp's
                ``ClientConnectorError``), or the connection broke.
            EngineTimeoutError: the response is not complete in time.
            EngineResponseError: the response is too large.
        """
        shown = masked(url)
        seconds = self._timeout if timeout is None else timeout
        # pydantic's encoder takes a third of json's time: prompts are thousands of token ids.
        data = body if body is None or isinstance(body, bytes) else to_json(body)
        opened: list[float] = []
        try:
            async with self._session().request(
                method,
                url + path,
                data=data,
                headers={**({} if data is None else _JSON), **(headers or {})},
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS),
                allow_redirects=False,
                trace_request_ctx=opened,
            ) as response:
                content = bytearray()
                async for part in response.content.iter_chunked(_PART_BYTES):
                    content += part
                    if len(content) > self._most_bytes:
                        response.close()
                        raise EngineResponseError(
                            f"{shown}: the response has more than {self._most_bytes:,} bytes",
                            hint="check the address of the server",
                        )
                connected = opened[-1] if opened else None
                return Response(shown, response.status, response.headers, bytes(content), connected)
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or error
            raise EngineUnavailableError(
                f"no server answers at {shown}: {reason}", hint=self._start_hint
            ) from error
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"{shown}: no answer within {seconds:g} s", hint=self._slow_hint
            ) from error
        except aiohttp.ClientError as error:
            # Messages of other libraries may hold the address as it was given.
            said = re.sub(r"//[^/\s?#]*@", "//***@", str(error)) or type(error).__name__
            raise EngineUnavailableError(
                f"{shown}: the connection broke: {said}", hint=self._start_hint
            ) from error

    def _session(self) -> aiohttp.ClientSession:
        if self._owner != os.getpid():
            event_loop.abandon(self._sessions)  # the parent's: closing would end its connections
            self._sessions, self._owner = {}, os.getpid()
            weakref.finalize(self, _close_dropped, self._sessions, self._owner)
        loop = asyncio.get_running_loop()
        for old in [known for known in self._sessions if known.is_closed()]:
            del self._sessions[old]
        if loop not in self._sessions:
            # Callers limit requests in flight themselves, per server.
            connector = aiohttp.TCPConnector(limit=0)
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_note_connection)
            self._sessions[loop] = aiohttp.ClientSession(
                headers=self._headers, connector=connector, trace_configs=[trace]
            )
        return self._sessions[loop]

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        current = asyncio.get_running_loop()
        while self._owner == os.getpid() and self._sessions:
            loop, session = self._sessions.popitem()
            if loop is current:
                await session.close()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(session.close(), loop)
                await asyncio.wrap_future(closing)


async def _note_connection(_: Any, context: Any, __: Any) -> None:
    context.trace_request_ctx.append(asyncio.get_running_loop().time())


def _close_dropped(sessions: _Sessions, owner: int) -> None:
    """Close the sessions of a client that was garbage-collected, in any thread."""
    while owner == os.getpid() and sessions:
        loop, session = sessions.popitem()
        if loop.is_running():
            closing = asyncio.run_coroutine_threadsafe(session.close(), loop)
            if not event_loop.is_running_here(loop):  # waiting for the loop on it would never end
                with suppress(TimeoutError):
                    closing.result(timeout=1)
