"""One request to the service: connection, retries, and every failure as a typed exception.

It belongs to the background loop (:func:`ecomfs.core.event_loop.loop`).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from ecomfs import errors
from ecomfs.core import event_loop
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InputError,
)

WRONG_SERVER = "is this the address of an ecomfs serve?"
_START = "start it with: ecomfs serve --task TASK --examples POOL.csv"
_BUSY = (429, 502, 503)
_LONGEST_PAUSE = 30.0
_BACK_OFF = wait_random_exponential(multiplier=0.25, max=8)


class _TryAgainError(Exception):
    """A failure that may pass; ``error`` is what it becomes when it does not."""

    def __init__(self, error: EcomfsError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class Transport:
    """Requests to one address.

    Args:
        url: without a trailing slash.
        key: bearer key, or ``None``.
        timeout: seconds a request may take.
        retries: how often a passing failure is tried again.
    """

    def __init__(self, url: str, key: str | None, *, timeout: float, retries: int) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout
        self._retries = retries
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        """Whether connections may be open."""
        return self._session is not None

    async def request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """The JSON object that comes back.

        Raises:
            EcomfsError: see :class:`~ecomfs.client.Client`.
        """
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=_pause,
            retry=retry_if_exception_type(_TryAgainError),
            reraise=True,
        )
        try:
            return await attempts(self._once, method, path, body)
        except _TryAgainError as passing:
            raise passing.error from passing.__cause__

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _once(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            # A forked process has a loop of its own; the session is still its parent's.
            event_loop.abandon(self._session)
            self._loop = loop
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=aiohttp.ClientTimeout(total=self._timeout)
            )
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise EngineUnavailableError(
                f"{self._url}: nothing answers there ({error.os_error.strerror or error})",
                hint=_START,
            ) from error
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"{self._url}: no answer in {self._timeout:g} s",
                hint="send fewer rows at once, or raise timeout=",
            ) from error
        except aiohttp.ClientError as error:
            cut = EngineUnavailableError(f"{self._url}: the connection was cut", hint=_START)
            raise _TryAgainError(cut) from error
        return self._judge(response, content)

    def _judge(self, response: aiohttp.ClientResponse, content: bytes) -> dict[str, Any]:
        status = response.status
        answer = _json_object(content) if "json" in response.content_type else None
        if status == 200 and answer is not None:
            return answer
        detail = str((answer or {}).get("detail", "")) or f"HTTP {status}"
        hint = str((answer or {}).get("hint", ""))
        if status in _BUSY:
            busy = EngineUnavailableError(f"{self._url}: {detail}", hint="try again later")
            raise _TryAgainError(busy, _seconds(response.headers.get("Retry-After")))
        if status in (401, 403):
            raise ConfigError(
                f"{self._url}: wrong or missing API key",
                hint="give api_key=, or set ECOMFS_API_KEY",
            )
        if answer is None or "detail" not in answer or status in (404, 405):
            raise EngineResponseError(
                f"{self._url}: HTTP {status}, {response.content_type}", hint=WRONG_SERVER
            )
        if 400 <= status < 500:
            raise _input_error(str(answer.get("type", "")))(detail, hint=hint)
        raise EngineError(f"{self._url}: {detail}", hint=hint)


def close_soon(transport: Transport) -> None:
    """Close the connections of a client that was dropped, from whatever thread drops it."""
    if not transport.is_open:
        return
    loop = event_loop.background_loop()
    future = event_loop.submit(transport.close())
    try:
        on_loop = asyncio.get_running_loop() is loop
    except RuntimeError:
        on_loop = False
    if not on_loop:  # waiting for the loop on the loop would never end
        future.result(timeout=1)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _input_error(uri: str) -> type[InputError]:
    """The exception class a problem type names, so that an error is the same near and far.

    >>> [_input_error(u).__name__ for u in ("urn:ecomfs:error:unknown-label", "about:blank")]
    ['UnknownLabelError', 'InputError']
    """
    found = re.fullmatch(r"urn:ecomfs:error:([a-z-]+)", uri)
    if found:
        name = "".join(word.capitalize() for word in found[1].split("-")) + "Error"
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, InputError):
            return kind
    return InputError


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds; its date form, which no service of ours sends, is ignored."""
    return float(header) if header is not None and header.strip().isdecimal() else None


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _TryAgainError) and error.after is not None:
        return min(error.after, _LONGEST_PAUSE)
    return _BACK_OFF(state)
