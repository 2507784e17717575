"""Callers that send nothing, or one byte at a time, and too many connections."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from scripted import classifier
from serving import ask, serving

from ecomfs.serve import create_app
from ecomfs.serve.server import Limits, LoopFaults

IMPATIENT = Limits(head_seconds=0.1, body_seconds=0.1, idle_seconds=1, look_seconds=0.05)
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((str(parts.hostname), parts.port or 80), timeout=60)


def all_of(sock: socket.socket) -> bytes:
    """What comes until the server closes."""
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            out += part
    return out


@pytest.fixture(scope="module")
def impatient() -> Iterator[str]:
    with serving(create_app(classifier()), IMPATIENT) as url:
        yield url


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\n", HEAD[:-2]])
def test_a_head_that_does_not_end_is_408(impatient: str, sent: bytes) -> None:
    with connect(impatient) as caller:
        caller.sendall(sent)
        assert all_of(caller).startswith(b"HTTP/1.1 408 ")
    assert ask(impatient, "GET", "/livez").status == 200


def test_a_body_that_does_not_end_is_408(impatient: str) -> None:
    with connect(impatient) as caller:
        caller.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"rows"')
        assert all_of(caller).startswith(b"HTTP/1.1 408 ")
    assert ask(impatient, "GET", "/livez").status == 200


def test_an_idle_connection_is_closed(impatient: str) -> None:
    with connect(impatient) as caller:
        caller.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = all_of(caller)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_caller_that_does_not_read_is_cut_off() -> None:
    """A page of megabytes is requested, and no byte of it is read."""
    limits = replace(Limits(), read_seconds=0.1, look_seconds=0.05)

    async def large(scope: object, receive: object, send: object) -> None:
        assert isinstance(scope, dict)
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        for _ in range(64):
            part = {"type": "http.response.body", "body": b"x" * 2**20, "more_body": True}
            await send(part)  # type: ignore[operator]
        ended.append(scope["path"])

    ended: list[str] = []
    with serving(large, limits) as url, connect(url) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.sendall(b"GET /unread HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while not ended:  # the application learns it: it is not left waiting for ever
            pass
    assert ended == ["/unread"]


def test_three_hundred_idle_connections_do_not_stop_livez() -> None:
    with serving(create_app(classifier()), Limits(connections=64)) as url:
        idle = []
        try:
            for i in range(300):
                idle.append(connect(url))
                if i % 50 == 0:
                    assert ask(url, "GET", "/livez").status == 200
            for _ in range(3):
                assert ask(url, "GET", "/livez").status == 200
            # Those that were idle longest had to go.
            assert idle[0].recv(1) == b""
        finally:
            for sock in idle:
                sock.close()


def test_if_all_connections_are_busy_a_new_one_gets_503_with_retry_after() -> None:
    with serving(create_app(classifier()), Limits(connections=2)) as url:
        busy = [connect(url) for _ in range(2)]
        for sock in busy:
            sock.sendall(HEAD + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")  # its body is waited for
        with connect(url) as late:
            answer = all_of(late)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 2" in answer
        for sock in busy:
            sock.close()
        # pytest's time-out ends this otherwise
        while ask(url, "GET", "/livez").status != 200:
            pass


def test_running_out_of_file_handles_is_one_line_in_the_log_and_closes_idle_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Idle:
        is_idle = True

        def __init__(self, since: float) -> None:
            self.since, self.closed, self.transport = since, False, self

        def is_closing(self) -> bool:
            return self.closed

        def close(self) -> None:
            self.closed = True

    connections = [Idle(float(i)) for i in range(10)]
    faults = LoopFaults(set(connections))
    context = {
        "message": "socket.accept() out of system resource",
        "exception": OSError(errno.EMFILE, "Too many open files"),
    }
    loop = asyncio.new_event_loop()
    for _ in range(3):
        faults(loop, context)
    loop.close()
    assert len(caplog.records) == 1
    assert faults.counts == {"socket.accept() out of system resource": 3}
    assert [c.closed for c in connections] == [True] * 10


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of file handles")
def test_a_service_with_few_file_handles_answers_and_does_not_fill_its_log() -> None:
    script = Path(__file__).parents[1] / "support" / "few_handles.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200"] * 4
    assert len(done.stderr.splitlines()) <= 2, done.stderr[:2000]
