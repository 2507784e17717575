"""When a request to a model server is tried again, and how long to wait before.

Tried again: 408, 409, 425, 429, every 5xx, connections that broke, time-outs, and answers that are
not what was asked for (a proxy's error page, JSON cut short). ``Retry-After`` is honoured; a
server that asks for more patience than allowed is an error at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from ecomfs.errors import EngineError, EngineResponseError

Item = TypeVar("Item")
T = TypeVar("T")
E = TypeVar("E", bound=EngineError)

RETRIED_STATUS = frozenset({408, 409, 425, 429})
BUSY_STATUS = frozenset({429, 503})
"""HTTP statuses of a server that has too much to do."""
MAX_WAIT = 60.0
"""Longest pause before a repetition, in seconds."""


class RetryLater(EngineError):  # noqa: N818 - a request to wait, not a fault
    """The server asked to come back after ``seconds``; ``busy``: because it has too much to do,
    not because it failed."""

    retryable = True

    def __init__(
        self, message: str, *, hint: str = "", seconds: float = 0.0, busy: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds
        self.busy = busy


def permanent(error: E) -> E:
    """Mark an error of a kind that usually passes as one that will not."""
    error.retryable = False
    return error


def is_retried(status: int) -> bool:
    """Whether an HTTP status may be another one later.

    >>> [s for s in (200, 400, 404, 408, 429, 500, 503) if is_retried(s)]
    [408, 429, 500, 503]
    """
    return status in RETRIED_STATUS or status >= 500


def retry_after(header: str | None, *, now: datetime | None = None) -> float:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3: a number of seconds or
    a date); 0 when there is none or it makes no sense.

    >>> retry_after("7")
    7.0
    >>> retry_after("Wed, 21 Oct 2026 07:28:30 GMT", now=datetime(2026, 10, 21, 7, 28, tzinfo=UTC))
    30.0
    >>> retry_after("soon"), retry_after(None)
    (0.0, 0.0)
    """
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def may_be_the_prompts(error: EngineError) -> bool:
    """Whether an error that stays may come from what was asked: a server fails on a prompt, but it
    is not busy, gone or slow because of one.

    >>> may_be_the_prompts(RetryLater("HTTP 500")), may_be_the_prompts(RetryLater("", busy=True))
    (True, False)
    """
    if isinstance(error, RetryLater):
        return not error.busy
    return error.retryable and isinstance(error, EngineResponseError)


async def isolate(
    items: Sequence[Item], send: Callable[[list[Item]], Awaitable[list[T]]]
) -> list[T | EngineError]:
    """Answers to items that failed together: halves are sent once each, halves of what fails
    again, down to single items. When both halves fail alike at the first cut, the server is at
    fault and not an item, and all get the error.

    >>> import asyncio
    >>> async def send(items: list[int]) -> list[int]:
    ...     if 3 in items:
    ...         raise EngineError("three is too much")
    ...     return [10 * i for i in items]
    >>> asyncio.run(isolate([1, 2, 3, 4], send))
    [10, 20, EngineError('three is too much'), 40]
    """
    answers = await _halves(list(items), send, first=True)
    return answers


async def _halves(
    items: list[Item], send: Callable[[list[Item]], Awaitable[list[T]]], *, first: bool
) -> list[T | EngineError]:
    middle = (len(items) + 1) // 2
    parts = [part for part in (items[:middle], items[middle:]) if part]
    answers: list[list[T] | EngineError] = []
    for part in parts:
        try:
            answers.append(await send(part))
        except EngineError as error:
            answers.append(error)
    hopeless = first and all(isinstance(a, EngineError) and a.retryable for a in answers)
    found: list[T | EngineError] = []
    for part, answer in zip(parts, answers, strict=True):
        if not isinstance(answer, EngineError):
            found += answer
        elif len(part) == 1 or hopeless:
            found += [answer] * len(part)
        else:
            rest = await _halves(part, send, first=False)
            found += rest
    return found


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    base: float,
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Await ``call`` until it gives a value, at most ``attempts`` times, pausing about
    ``base``, 2 ``base``, 4 ``base``… seconds (with jitter, at most :data:`MAX_WAIT`), or as long
    as the server asked for. The last error is raised as it is."""
    try:
        return await call()
    except EngineError as error:
        # Hardly any call fails; only those that do pay for the machinery.
        failed = [error]

    backoff = wait_exponential(multiplier=base, max=MAX_WAIT) + wait_random(0, base)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.seconds if isinstance(error, RetryLater) else 0.0
        return max(asked, backoff(state))

    retries = AsyncRetrying(
        stop=stop_after_attempt(attempts),
        wait=pause,
        retry=retry_if_exception(_worth_it),
        sleep=sleep,
        reraise=True,
    )

    async def attempt() -> T:
        if failed:
            raise failed.pop()
        return await call()  # tenacity awaits coroutine functions only, not what a lambda returns

    return await retries(attempt)


def _worth_it(error: BaseException) -> bool:
    if isinstance(error, RetryLater):
        return error.seconds <= MAX_WAIT
    return isinstance(error, EngineError) and error.retryable
