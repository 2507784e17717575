"""One HTTP layer: failures as exceptions, sessions per loop, nothing left open."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from aiohttp import web

from ecomfs.core import event_loop
from ecomfs.core.http import HttpClient, Response
from ecomfs.errors import EngineTimeoutError, EngineUnavailableError


class Pages:
    """A server on the background loop."""

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/echo", self._echo)
        app.router.add_get("/hangs", self._hangs)
        app.router.add_get("/cut", self._cut)
        app.router.add_get("/busy", self._busy)
        self.stopped = asyncio.Event()
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.stopped.set()
        await self.runner.cleanup()

    async def _echo(self, request: web.Request) -> web.Response:
        return web.Response(
            body=await request.read(), headers={"Key": request.headers["Authorization"]}
        )

    async def _hangs(self, _: web.Request) -> web.Response:
        await self.stopped.wait()
        return web.Response()

    async def _cut(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _busy(self, _: web.Request) -> web.Response:
        return web.Response(status=503, text="later", headers={"Retry-After": "7"})


@pytest.fixture
def url() -> Iterator[str]:
    pages = Pages()
    yield event_loop.run(pages.start())
    event_loop.run(pages.stop())


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(api_key="k", timeout=30, start_hint="start it", slow_hint="be patient")
    yield made
    event_loop.run(made.close())


def test_json_goes_out_with_the_key_and_comes_back(client: HttpClient, url: str) -> None:
    response = event_loop.run(client.request("POST", url, "/echo", {"好": [1, None]}))
    assert response.json_object() == {"好": [1, None]}
    assert response.headers["Key"] == "Bearer k"


def test_nothing_listens(client: HttpClient) -> None:
    with pytest.raises(EngineUnavailableError, match="no server answers") as caught:
        event_loop.run(client.request("GET", "http://127.0.0.1:1", "/"))
    assert caught.value.hint == "start it"


def test_no_answer_in_time(client: HttpClient, url: str) -> None:
    with pytest.raises(EngineTimeoutError) as caught:
        event_loop.run(client.request("GET", url, "/hangs", timeout=0.05))
    assert caught.value.hint == "be patient"


def test_a_broken_connection(client: HttpClient, url: str) -> None:
    with pytest.raises(EngineUnavailableError, match="broke"):
        event_loop.run(client.request("GET", url, "/cut"))


def test_a_busy_server_names_its_pause(client: HttpClient, url: str) -> None:
    error = event_loop.run(client.request("GET", url, "/busy")).retryable_error("busy")
    assert (error.busy, error.seconds, error.retryable) == (True, 7.0, True)


def test_each_loop_has_a_session_of_its_own(client: HttpClient, url: str) -> None:
    async def here() -> int:
        status = (await client.request("POST", url, "/echo", {})).status
        await client.close()
        return status

    assert event_loop.run(client.request("POST", url, "/echo", {})).status == 200
    assert asyncio.run(here()) == 200
    assert event_loop.run(client.request("POST", url, "/echo", {})).status == 200


def test_a_dropped_client_leaves_no_session_open(url: str) -> None:
    client = HttpClient(api_key="k", timeout=30, start_hint="", slow_hint="")
    event_loop.run(client.request("POST", url, "/echo", {}))
    sessions = list(client._sessions.values())
    del client
    gc.collect()
    assert [session.closed for session in sessions] == [True]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a":', b"<html>", b"\xff"])
def test_what_is_no_json_object(content: bytes) -> None:
    assert Response("http://x", 200, {}, content).json_object() is None
