"""HTTP to one or several equal servers: bounded concurrency, the least busy one first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from ecomfs.engine.retry import RetryLater, is_retried, permanent, retry_after
from ecomfs.engine.served_tokenizer import nobody, refused
from ecomfs.engine.vllm_wire import RefusedError
from ecomfs.errors import (
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
)

_CONNECT = 10.0  # seconds


@dataclass(slots=True)
class _Open:
    """What lives on one event loop."""

    session: aiohttp.ClientSession
    slots: asyncio.Semaphore


class Transport:
    """POSTs JSON. Sessions belong to an event loop, so there is one for each that is used."""

    def __init__(
        self, urls: Sequence[str], *, api_key: str | None, timeout: float, concurrency: int
    ) -> None:
        self._busy = dict.fromkeys(urls, 0)
        self._failed = dict.fromkeys(urls, False)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = timeout
        self._concurrency = concurrency
        self._open: dict[asyncio.AbstractEventLoop, _Open] = {}

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that a server answers.

        Raises:
            EngineUnavailableError: nothing listens, the connection broke, or the key is refused.
            EngineTimeoutError: no answer in time.
            RetryLater: the server is too busy, or failed.
            RefusedError: the server refuses this request.
            EngineResponseError: the answer is not a JSON object.
        """
        here = self._here()
        async with here.slots:
            # A server that failed last time is the last resort, but is tried again then.
            url = min(self._busy, key=lambda u: (self._failed[u], self._busy[u]))
            self._busy[url] += 1
            try:
                answer = await self._exchange(here.session, url, path, body)
            except EngineError as error:
                self._failed[url] = error.retryable
                raise
            finally:
                self._busy[url] -= 1
            self._failed[url] = False
            return answer

    async def _exchange(
        self, session: aiohttp.ClientSession, url: str, path: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            async with session.post(url + path, json=body) as response:
                if response.status != 200:
                    await _raise(url, response)
                answer = await response.json(content_type=None)
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
            session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
            self._open[loop] = _Open(session, asyncio.Semaphore(self._concurrency))
        return self._open[loop]

    async def aclose(self) -> None:
        """Close the sessions, each on its own loop."""
        current = asyncio.get_running_loop()
        for loop, opened in list(self._open.items()):
            del self._open[loop]
            if loop is current:
                await opened.session.close()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(opened.session.close(), loop)
                await asyncio.wrap_future(closing)


async def _raise(url: str, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in (401, 403):
        raise refused(url, status)
    said = " ".join((await response.text(errors="replace")).split())[:200]
    message = f"{url} answered HTTP {status}: {said}"
    if is_retried(status):
        raise RetryLater(message, seconds=retry_after(response.headers.get("Retry-After")))
    if status == 404:
        hint = "is this a vLLM server? does it serve this model?"
        raise permanent(EngineResponseError(message, hint=hint))
    raise RefusedError(message)
