"""Binding a socket safely, and running the application on it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from ecomfs.errors import ConfigError

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
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sock = socket.socket(family, kind)
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


def url_of(sock: socket.socket) -> str:
    """Where a bound socket is reached.

    >>> with bind("127.0.0.1", 0, api_key=None) as sock:
    ...     url_of(sock).rsplit(":", 1)[0]
    'http://127.0.0.1'
    """
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def run(app: FastAPI, sock: socket.socket, *, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C; requests under way are finished first.

    Args:
        on_ready: called once callers are answered.
    """
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    _Server(config, on_ready).run(sockets=[sock])
