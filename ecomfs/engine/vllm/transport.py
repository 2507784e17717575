"""HTTP to one or several equal servers; see :mod:`ecomfs.engine.lanes` for which gets what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from pydantic_core import from_json, to_json

from ecomfs.core.retry import BUSY_STATUS, RetryLater, is_retried, permanent, retry_after
from ecomfs.engine.lanes import Lane, Lanes, Revive
from ecomfs.engine.vllm.served_tokenizer import nobody, refused
from ecomfs.engine.vllm.wire import RefusedError
from ecomfs.errors import (
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InvalidLogprobsError,
)

T = TypeVar("T")

_CONNECT = 10.0  # seconds
_JSON = {"Content-Type": "application/json"}


@dataclass(slots=True)
class _Open:
    """What lives on one event loop."""

    session: aiohttp.ClientSession
    lanes: Lanes


class Transport:
    """POSTs JSON. Sessions belong to an event loop, so there is one for each that is used.

    Args:
        urls: the servers.
        api_key: sent to all of them.
        timeout: seconds a request may take.
        concurrency: requests in flight at once, a server, at most.
        revive: how to check a server that comes back.
        probe_after: seconds until a server that is gone is probed.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        api_key: str | None,
        timeout: float,
        concurrency: int,
        revive: Revive,
        probe_after: float = 1.0,
    ) -> None:
        self._urls = list(urls)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = timeout
        self._concurrency = concurrency
        self._revive = revive
        self._probe_after = probe_after
        self._open: dict[asyncio.AbstractEventLoop, _Open] = {}

    async def post(
        self, path: str, body: dict[str, Any], parse: Callable[[dict[str, Any]], T]
    ) -> T:
        """What ``parse`` makes of the JSON object that a server answers. When a server cannot be
        reached, or is taken out because of this answer, the others are asked at once.

        Raises:
            EngineUnavailableError: nothing listens, the connection broke, or the key is refused.
            EngineTimeoutError: no answer in time.
            RetryLater: the server is too busy, or failed.
            RefusedError: the server refuses this request.
            EngineResponseError: the answer is not a JSON object, or ``parse`` refuses it.
        """
        here = self._here()
        others = len(self._urls) - 1
        while True:
            lane, sent = await here.lanes.take()
            try:
                answer = parse(await self._exchange(here.session, lane.url, path, body))
            except EngineError as error:
                _note(here.lanes, lane, sent, error)
                if lane.gone is None or not others or not here.lanes.alive:
                    raise
                others -= 1
            else:
                well = _judge(here.lanes, lane, answer)
                if well or lane.gone is None or not others or not here.lanes.alive:
                    return answer
                others -= 1
            finally:
                here.lanes.give(lane)

    async def _exchange(
        self, session: aiohttp.ClientSession, url: str, path: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            # A third of the time of the json module: prompts are thousands of token ids.
            data = to_json(body)
            async with session.post(url + path, data=data, headers=_JSON) as response:
                if response.status != 200:
                    await _raise(url, response)
                answer = from_json(await response.read())
        except aiohttp.ClientConnectorError as error:
            raise nobody(url, error) from error
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"{url}: no answer within {self._timeout:g} s",
                hint="a larger timeout, or fewer prompts in flight",
            ) from error
        except aiohttp.ClientError as error:
            raise EngineUnavailableError(f"{url}: the connection broke: {error}") from error
        except ValueError as error:
            raise EngineResponseError(f"{url}: the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise EngineResponseError(f"{url}: the answer is not a JSON object")
        return answer

    async def text(self, url: str, path: str) -> str | None:
        """The text of a page, or ``None`` when the server does not give it."""
        try:
            async with self._here().session.get(url + path) as response:
                return await response.text() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _here(self) -> _Open:
        loop = asyncio.get_running_loop()
        for old in [known for known in self._open if known.is_closed()]:
            del self._open[old]
        if loop not in self._open:
            timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=_CONNECT)
            # aiohttp's own limit of 100 connections would come before the windows.
            session = aiohttp.ClientSession(
                headers=self._headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
            )
            lanes = Lanes(self._urls, self._concurrency, self._revive, self._probe_after)
            self._open[loop] = _Open(session, lanes)
        return self._open[loop]

    async def aclose(self) -> None:
        """Close the sessions, each on its own loop."""
        current = asyncio.get_running_loop()
        for loop, opened in list(self._open.items()):
            del self._open[loop]
            if loop is current:
                await _close(opened)
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_close(opened), loop))


async def _close(opened: _Open) -> None:
    await opened.lanes.aclose()
    await opened.session.close()


def _judge(lanes: Lanes, lane: Lane, answer: object) -> bool:
    """Whether all readings of an answer are distributions. One that is none is a failure of the
    server, as one that does not come: the next good one makes up for it."""
    readings = answer if isinstance(answer, list) else [answer]
    well = True
    for reading in readings:
        if isinstance(reading, InvalidLogprobsError):
            lanes.fails(lane, reading, unreachable=False)
            well = False
        else:
            lane.failures = 0
    lane.window.answered()
    return well


def _note(lanes: Lanes, lane: Lane, sent: int, error: EngineError) -> None:
    """What an error says about the server."""
    if isinstance(error, EngineTimeoutError) or (isinstance(error, RetryLater) and error.busy):
        lane.window.overloaded(sent)
    if error.retryable:
        lanes.fails(
            lane, error, unreachable=isinstance(error.__cause__, aiohttp.ClientConnectorError)
        )
    else:
        lane.failures = 0  # it answered: the request is at fault, or the key


async def _raise(url: str, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in (401, 403):
        raise refused(url, status)
    said = " ".join((await response.text(errors="replace")).split())[:200]
    message = f"{url} answered HTTP {status}: {said}"
    if is_retried(status):
        raise RetryLater(
            message,
            seconds=retry_after(response.headers.get("Retry-After")),
            busy=status in BUSY_STATUS,
        )
    if status == 404:
        hint = "is this a vLLM server? does it serve this model?"
        raise permanent(EngineResponseError(message, hint=hint))
    raise RefusedError(message)
