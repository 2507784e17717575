"""Binding a socket safely, and running the application on it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from ecomfs.core import event_loop
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.serve.connections import Limits, LoopFaults, connection_class

FINISH_SECONDS = 10
"""How long requests under way may take once the service is told to stop; then they are cut."""
END_SECONDS = 25.0
"""After so long the process ends, whatever still runs."""
_HANDLES_KEPT = 256
"""File handles that are not for connections: databases, models, uploads, and a burst of new
connections before they are counted."""
_BACKLOG = 128
_log = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``.

    >>> [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "shop.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def bind(host: str, port: int, *, api_key: str | None) -> socket.socket:
    """A bound socket; nothing listens yet, so an early caller is refused, not left waiting.

    Raises:
        ConfigError: an address others can reach and no API key; or the address is not free.
    """
    if not is_loopback(host) and not api_key:
        raise ConfigError(
            f"--host {host} would let everyone on the network in",
            hint="set a key in ECOMFS_API_KEY (or --api-key), or keep --host 127.0.0.1",
        )
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}", hint="0 (a free one) to 65535")
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # With its protocol: without it asyncio leaves Nagle's algorithm on, and every answer waits
        # some 40 ms for the acknowledgement of its head.
        sock = socket.socket(family, kind, protocol)
        try:
            # A restart must not wait for the last connections' time-out.
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
    """Where a bound socket is reached.

    >>> with bind("127.0.0.1", 0, api_key=None) as sock:
    ...     url_of(sock).rsplit(":", 1)[0]
    'http://127.0.0.1'
    """
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate of a service that speaks https itself.

    Attributes
    ----------
    certificate : Path
        PEM file: the certificate, then those that lead from it to an authority.
    key : Path
        PEM file of its private key.

    Raises
    ------
    MissingFileError
        One of them is not there.
    ConfigError
        They are no certificate and key, or do not belong together.

    Examples
    --------
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
        # A key with a passphrase would ask for it on the terminal.
        made.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        return made


def configuration(app: Any, limits: Limits | None = None, tls: Tls | None = None) -> uvicorn.Config:
    """How uvicorn serves an application.

    Parameters
    ----------
    app : ASGI application
        Such as :func:`ecomfs.serve.create_app` makes it.
    limits : Limits, optional
        Of connections; by default as many as there are file handles for, a thousand at most.
    tls : Tls, optional
        Its certificate; by default plain HTTP.

    Returns
    -------
    uvicorn.Config
        For ``uvicorn.Server``.

    Examples
    --------
    >>> configuration(None).timeout_graceful_shutdown
    10
    """
    limits = limits or replace(Limits(), connections=_connections())
    return uvicorn.Config(
        app,
        http=connection_class(limits),
        ws="none",
        backlog=_BACKLOG,
        # A line for every malformed request would let anybody fill the disk.
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=FINISH_SECONDS,
        ssl_context_factory=None if tls is None else lambda config, default: tls.context(),
    )


def _connections() -> int:
    """How many connections there are file handles for; the soft limit is raised where it can be."""
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
    # An upload has a handle beside its connection's.
    return max(16, min(most, (soft - _HANDLES_KEPT) // 2))


class Server(uvicorn.Server):
    """A server that says when it is ready, and logs no rows.

    Args:
        config: as :func:`configuration` makes it.
        on_ready: called once callers are answered.
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
    """Serve until Ctrl-C or SIGTERM; requests under way have :data:`FINISH_SECONDS` to finish.

    Args:
        on_ready: called once callers are answered.
        limits: of connections.
        tls: the certificate, for https.
        end_within: seconds after which the process ends whatever still runs; ``None``: never, for
            programs that go on.
    """
    Server(configuration(app, limits, tls), on_ready, end_within).run(sockets=[sock])
