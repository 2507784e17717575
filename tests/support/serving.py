"""A real server on a loopback port, and plain requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from ecomfs.serve.server import Limits, Server, bind, configuration, url_of


@contextmanager
def serving(app: Any, limits: Limits | None = None) -> Iterator[str]:
    """Serve an ASGI application; yields its URL."""
    with bind("127.0.0.1", 0, api_key=None) as sock:
        ready = threading.Event()
        server = Server(configuration(app, limits), ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            if not ready.wait(timeout=30):
                raise RuntimeError("the server did not start")
            yield url_of(sock)
        finally:
            server.should_exit = True
            thread.join()


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a new connection; values become JSON, bytes and iterators of bytes are
    sent unchanged (the latter in chunks, without a length).
    """
    sent: dict[str, str] = {"Content-Type": "application/json"} if body is not None else {}
    sent |= headers or {}
    raw = isinstance(body, bytes) or (isinstance(body, Iterable) and not isinstance(body, dict))
    data = body if body is None or raw else json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, data, sent, encode_chunked=not isinstance(data, bytes))
        response = connection.getresponse()
        found = {k.casefold(): v for k, v in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()
