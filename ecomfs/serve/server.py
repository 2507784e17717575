"""Binds a socket safely, and runs the application on it.

Idle and slow connections each cost a file handle. Beyond :attr:`Limits.connections`, the connection
that has been idle longest is closed; a new one is refused only if every other connection has a
request in progress.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ecomfs.core import event_loop
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.serve.problems import loggable

FINISH_SECONDS = 10
"""Seconds that requests in progress may take when the service stops; then they are aborted."""
END_SECONDS = 25.0
"""Seconds after a stop request until the process ends in any case."""
_HANDLES_KEPT = 256
"""File handles reserved for databases, models, uploads, and a burst of new connections."""
_BACKLOG = 128
_log = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address, reachable only from this machine.

    >>> [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "shop.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def bind(host: str, port: int, *, api_key: str | None) -> socket.socket:
    """Bind a socket. It does not listen yet, so early callers are refused instead of waiting.

    Raises:
        ConfigError: the address is not loopback and there is no API key, or it is in use.
    """
    if not is_loopback(host) and not api_key:
        raise ConfigError(
            f"--host {host} without a key would give everyone on the network access",
            hint="set a key in ECOMFS_API_KEY (or --api-key), or keep --host 127.0.0.1",
        )
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}", hint="use 0 (any free port) to 65535")
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # Set the protocol: otherwise asyncio leaves Nagle's algorithm on, and every response waits
        # about 40 ms for the acknowledgement of its head.
        sock = socket.socket(family, kind, protocol)
        try:
            # So that a restart does not wait for the time-out of old connections.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(
            f"cannot serve at {host}:{port}: {why}", hint="choose another --port or --host"
        ) from error
    return sock


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """The URL of a bound socket.

    >>> with bind("127.0.0.1", 0, api_key=None) as sock:
    ...     url_of(sock).rsplit(":", 1)[0]
    'http://127.0.0.1'
    """
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate for HTTPS.

    Attributes:
        certificate: PEM file with the certificate and its chain.
        key: PEM file with its private key.

    Raises:
        MissingFileError: a file does not exist.
        ConfigError: the files are not a certificate and a key, or do not match.

    >>> Tls(Path("no-such.pem"), Path("no-such.key"))
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such.pem: no such file (--tls-certificate and --tls-key ...
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        hint = "--tls-certificate and --tls-key are PEM files, as certbot writes them"
        for file in (self.certificate, self.key):
            if not file.is_file():
                raise MissingFileError(f"{file}: no such file", hint=hint)
        try:
            self.context()
        except (OSError, ssl.SSLError) as error:
            what = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{self.certificate}, {self.key}: {what}", hint=hint) from error

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, with this certificate."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        # Do not ask for the passphrase of a key on the terminal.
        made.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        return made


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of connections.

    Attributes:
        connections: most open connections.
        head_seconds: time limit for the head of a request, from the start of the connection.
        body_seconds, body_bytes_per_second: time limit for the body: this many seconds, plus one
            for every ``body_bytes_per_second`` bytes received.
        read_seconds: time after which a caller that does not read its response is disconnected.
        idle_seconds: longest time between two requests of a connection.
        look_seconds: interval of these checks.
    """

    connections: int = 1000
    head_seconds: float = 20.0
    body_seconds: float = 20.0
    body_bytes_per_second: float = 1000.0
    read_seconds: float = 60.0
    idle_seconds: int = 15
    look_seconds: float = 1.0


class LimitedConnection(H11Protocol):
    """One connection with limits; each server makes a subclass with its own limits."""

    limits: ClassVar[Limits] = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and close idle ones if there are too many."""
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
        """Stop the checks of this connection."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Record when a head or a body started to arrive."""
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
        """Whether no request is in progress."""
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
            if self.flow.read_paused:  # the service itself has stopped reading
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
    """Close up to ``most`` idle connections, the longest idle first; returns the number closed."""
    idle = [c for c in connections if c.is_idle and not c.transport.is_closing()]
    idle.sort(key=lambda c: c.since)
    for connection in idle[:most]:
        connection.transport.close()
    return len(idle[:most])


class LoopFaults:
    """The exception handler of a server's event loop. It logs no row text, and limits repeated
    lines: if file handles run out, asyncio retries every second and reports each attempt.

    Args:
        connections: connections of the server; half of the idle ones are closed if handles run out.
        every: least seconds between two lines of the same kind.
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


def configuration(app: Any, limits: Limits | None = None, tls: Tls | None = None) -> uvicorn.Config:
    """The uvicorn configuration for an ASGI application.

    Args:
        limits: limits of connections; by default as many as file handles allow, at most a thousand.
        tls: the certificate; by default plain HTTP.

    >>> configuration(None).timeout_graceful_shutdown
    10
    """
    limits = limits or replace(Limits(), connections=_connections())
    return uvicorn.Config(
        app,
        http=type("Connection", (LimitedConnection,), {"limits": limits}),
        ws="none",
        backlog=_BACKLOG,
        # One line per malformed request would let any caller fill the disk.
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=FINISH_SECONDS,
        ssl_context_factory=None if tls is None else lambda config, default: tls.context(),
    )


def _connections() -> int:
    """The number of connections that file handles allow; raises the soft limit if possible."""
    most = Limits().connections
    try:
        import resource
    except ImportError:  # Windows
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * most + _HANDLES_KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return most
    # An upload needs a handle besides that of its connection.
    return max(16, min(most, (soft - _HANDLES_KEPT) // 2))


class Server(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and logs no rows.

    Args:
        config: from :func:`configuration`.
        on_ready: called when the server accepts requests.
        end_within: see :func:`run`.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None] = lambda: None,
        end_within: float | None = None,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._end_within = end_within

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        faults = LoopFaults(self.server_state.connections)
        asyncio.get_running_loop().set_exception_handler(faults)
        event_loop.background_loop().set_exception_handler(faults)
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        within, self._end_within = self._end_within, None
        if within is not None:
            threading.Thread(target=_end_after, args=(within, sig), daemon=True).start()
        super().handle_exit(sig, frame)


def _end_after(seconds: float, sig: int) -> None:
    threading.Event().wait(seconds)
    _log.error("still busy %g seconds after %s: ended", seconds, signal.Signals(sig).name)
    os._exit(128 + sig)


def run(
    app: Any,
    sock: socket.socket,
    *,
    on_ready: Callable[[], None] = lambda: None,
    limits: Limits | None = None,
    tls: Tls | None = None,
    end_within: float | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in progress have :data:`FINISH_SECONDS` to finish.

    Args:
        on_ready: called when the server accepts requests.
        limits: limits of connections.
        tls: the certificate for HTTPS.
        end_within: seconds after which the process is ended; ``None``: never, for programs that
            continue afterwards.
    """
    Server(configuration(app, limits, tls), on_ready, end_within).run(sockets=[sock])
