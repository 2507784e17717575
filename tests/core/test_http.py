"""The HTTP layer: failures as exceptions, one session per event loop, nothing left open."""

from __future__ import annotations

import asyncio
import gc
import gzip
from collections.abc import Iterator

import pytest
from aiohttp import web

from ecomfs.core import event_loop
from ecomfs.core.http import HttpClient, Response
from ecomfs.errors import EngineResponseError, EngineTimeoutError, EngineUnavailableError


class Pages:
    """A server on the background loop."""

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/echo", self._echo)
        app.router.add_get("/hangs", self._hangs)
        app.router.add_get("/cut", self._cut)
        app.router.add_get("/busy", self._busy)
        app.router.add_get("/bomb", self._bomb)
        app.router.add_get("/moved", self._moved)
        self.elsewhere = ""
        self.keys: list[str | None] = []
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

    async def _bomb(self, _: web.Request) -> web.Response:
        packed = gzip.compress(bytes(50 * 2**20))
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async def _moved(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        if not self.elsewhere:
            return web.Response()
        return web.Response(status=307, headers={"Location": f"{self.elsewhere}/moved"})

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
def test_an_answer_that_is_not_a_json_object_is_an_error(content: bytes) -> None:
    assert Response("http://x", 200, {}, content).json_object() is None


def test_a_redirect_is_not_followed_and_no_key_goes_with_it(client: HttpClient) -> None:
    first, second = Pages(), Pages()
    url, second_url = event_loop.run(first.start()), event_loop.run(second.start())
    first.elsewhere = second_url
    try:
        answer = event_loop.run(client.request("GET", url, "/moved"))
    finally:
        event_loop.run(first.stop())
        event_loop.run(second.stop())
    assert answer.status == 307
    assert first.keys == ["Bearer k"]
    assert second.keys == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_never_used(
    client: HttpClient, url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing listens there
    assert event_loop.run(client.request("POST", url, "/echo", {})).status == 200


def test_a_small_answer_that_is_huge_unpacked_is_refused(url: str) -> None:
    small = HttpClient(api_key="k", timeout=60, start_hint="", slow_hint="", most_bytes=2**20)
    try:
        with pytest.raises(EngineResponseError, match="more than 1,048,576 bytes"):
            event_loop.run(small.request("GET", url, "/bomb"))
    finally:
        event_loop.run(small.close())


@pytest.mark.parametrize("path", ["/hangs", "/cut", "/busy"])
def test_passwords_in_addresses_are_in_no_message(url: str, path: str) -> None:
    secret = url.replace("//", "//shop:hunter2@")
    client = HttpClient(api_key=None, timeout=30, start_hint="", slow_hint="")
    answer: object
    try:
        answer = event_loop.run(client.request("GET", secret, path, timeout=0.2)).url
    except (EngineUnavailableError, EngineTimeoutError) as error:
        answer = error
    assert "hunter2" not in str(answer)
    assert "***@127.0.0.1" in str(answer)
    with pytest.raises(EngineUnavailableError) as caught:
        event_loop.run(client.request("GET", "http://shop:hunter2@127.0.0.1:1", "/"))
    assert "hunter2" not in str(caught.value)
    event_loop.run(client.close())
