"""Connections: how many, and how long a caller may take to send or to read.

A caller that opens connections and sends nothing, or a byte at a time, costs a file handle each.
Beyond :attr:`Limits.connections` the one that has been idle longest is closed; a new one is refused
only when every other one has a request under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from ecomfs.serve.faults import loggable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may take of the service.

    Attributes
    ----------
    connections : int
        Open at once.
    head_seconds : float
        For the head of a request, from the opening of the connection.
    body_seconds, body_bytes_per_second : float
        For its body: so many seconds, and one more for every so many bytes that have come.
    read_seconds : float
        A caller that reads nothing of its answer for so long is cut off.
    idle_seconds : int
        Between two requests of a connection.
    look_seconds : float
        How often these are looked at.

    Examples
    --------
    >>> Limits(connections=10).head_seconds
    20.0
    """

    connections: int = 1000
    head_seconds: float = 20.0
    body_seconds: float = 20.0
    body_bytes_per_second: float = 1000.0
    read_seconds: float = 60.0
    idle_seconds: int = 15
    look_seconds: float = 1.0


def connection_class(limits: Limits) -> type[LimitedConnection]:
    """The protocol of a server's connections, for ``uvicorn.Config(http=…)``.

    Parameters
    ----------
    limits : Limits
        Of each connection.

    Returns
    -------
    type of LimitedConnection
        A class with these limits.

    Examples
    --------
    >>> connection_class(Limits(connections=3)).limits.connections
    3
    """
    return type("Connection", (LimitedConnection,), {"limits": limits})


class LimitedConnection(H11Protocol):
    """One connection. Make its class with :func:`connection_class`.

    Examples
    --------
    >>> issubclass(connection_class(Limits()), LimitedConnection)
    True
    """

    limits: ClassVar[Limits] = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and make room for it."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._head_since: float | None = self.since
        self._body_of: Any = None
        self._body_since = self._reading_since = self.since
        self._body_bytes = self._unread = 0
        self._looking = self.loop.call_later(self.limits.look_seconds, self._look)
        if len(self.connections) > self.limits.connections and not drop_idle(
            (c for c in self.connections if c is not self), 1
        ):
            self._refuse(b"503 Service Unavailable", b"Retry-After: 2\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Look at it no more."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note since when a head or a body is on its way."""
        if self.transport.is_closing():
            return
        if self._head_since is None and self.is_idle:
            self._head_since = self.loop.time()
        self._body_bytes += len(data)
        super().data_received(data)
        self._note_request()

    def on_response_complete(self) -> None:
        """Between two requests the connection is idle."""
        self.since, self._head_since = self.loop.time(), None
        super().on_response_complete()
        self._note_request()

    def _note_request(self) -> None:
        if self.cycle is not None and self.cycle is not self._body_of:
            self._body_of, self._head_since = self.cycle, None
            self._body_since, self._body_bytes = self.loop.time(), 0

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        self._looking = self.loop.call_later(self.limits.look_seconds, self._look)
        now, limits = self.loop.time(), self.limits
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self._unread:
            self._reading_since, self._unread = now, unread
        elif now - self._reading_since > limits.read_seconds:
            self.transport.abort()
            return
        if self.transport.is_closing():
            return
        if self.is_idle:
            if self._head_since is not None and now - self._head_since > limits.head_seconds:
                self._refuse(b"408 Request Timeout")
        elif self.cycle.more_body:
            if self.flow.read_paused:  # it is the service that does not read
                self._body_since += limits.look_seconds
            allowed = limits.body_seconds + self._body_bytes / limits.body_bytes_per_second
            if now - self._body_since > allowed:
                self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes, header: bytes = b"") -> None:
        if self.cycle is None or not self.cycle.response_started or self.is_idle:
            end = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + header + end)
        self.transport.close()


def drop_idle(connections: Iterable[Any], most: int) -> int:
    """Close connections without a request under way, those first that have been idle longest.

    Parameters
    ----------
    connections : iterable of LimitedConnection
        Of a server.
    most : int
        How many to close.

    Returns
    -------
    int
        How many were closed.

    Examples
    --------
    >>> drop_idle([], 1)
    0
    """
    idle = [c for c in connections if c.is_idle and not c.transport.is_closing()]
    idle.sort(key=lambda c: c.since)
    for connection in idle[:most]:
        connection.transport.close()
    return len(idle[:most])


class LoopFaults:
    """The exception handler of a server's event loop: no row text, and no storm of lines where
    file handles run out (asyncio tries again every second, and reports every try).

    Parameters
    ----------
    connections : set
        Of the server; half of the idle ones are closed when handles run out.
    every : float
        Seconds between two lines of one kind.

    Examples
    --------
    >>> faults = LoopFaults(set())
    >>> faults.counts
    {}
    """

    def __init__(self, connections: set[Any], every: float = 60.0) -> None:
        self._connections = connections
        self._every = every
        self._last: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Called by asyncio."""
        message = str(context.get("message", ""))
        error = context.get("exception")
        self.counts[message] = self.counts.get(message, 0) + 1
        if "out of system resource" in message and message:
            drop_idle(self._connections, max(1, len(self._connections) // 2))
        now = time.monotonic()
        if now - self._last.get(message, -self._every) < self._every:
            return
        self._last[message] = now
        what = loggable(error) if isinstance(error, BaseException) else ""
        _log.error("%s (%d so far): %s", message, self.counts[message], what)
