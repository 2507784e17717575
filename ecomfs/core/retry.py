"""Retries of failed requests: which errors are retried, and the pauses between attempts.

Retried: 408, 409, 425, 429, every 5xx, broken connections, time-outs, and answers of the wrong
form (a proxy's error page, truncated JSON). ``Retry-After`` is honoured up to
:data:`MAX_WAIT`; a server that asks for a longer pause is an error at once.
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

from ecomfs.errors import EngineError, EngineResponseError, ServerStatusError

A = TypeVar("A")
T = TypeVar("T")
E = TypeVar("E", bound=EngineError)

RETRIED_STATUS = frozenset({408, 409, 425, 429})
BUSY_STATUS = frozenset({429, 503})
"""HTTP statuses of an overloaded server."""
MAX_WAIT = 60.0
"""Longest pause before a retry, in seconds."""


def permanent(error: E) -> E:
    """Mark an error as not retryable, although others of its class are."""
    error.retryable = False
    return error


def is_retried(status: int) -> bool:
    """Whether a request with this HTTP status is retried.

    >>> [s for s in (200, 400, 404, 408, 429, 500, 503) if is_retried(s)]
    [408, 429, 500, 503]
    """
    return status in RETRIED_STATUS or status >= 500


def retry_after(header: str | None, *, now: datetime | None = None) -> float:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3: a number of seconds or
    a date); 0 when there is none or it cannot be parsed.

    >>> retry_after("7")
    7.0
    >>> retry_after("Wed, 21 Oct 2026 07:28:30 GMT", now=datetime(2026, 10, 21, 7, 28, tzinfo=UTC))
    30.0
    >>> retry_after("Wed Oct 21 07:28:30 2026", now=datetime(2026, 10, 21, 7, 28, tzinfo=UTC))
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
    if moment.tzinfo is None:  # the form of C's asctime, which is in GMT (RFC 9110, 5.6.7)
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def may_be_caused_by_prompt(error: EngineError) -> bool:
    """Whether an error may be caused by a prompt. A busy, unreachable or slow server is not."""
    if isinstance(error, ServerStatusError):
        return not error.busy
    return error.retryable and isinstance(error, EngineResponseError)


async def isolate(
    items: Sequence[A], send: Callable[[list[A]], Awaitable[list[T]]], *, first: bool = True
) -> list[T | EngineError]:
    """Find the items that make a batch fail: send the batch again in halves, down to single items.

    If both first halves fail, the server is the cause, and all items get the error.

    >>> import asyncio
    >>> async def send(items: list[int]) -> list[int]:
    ...     if 3 in items:
    ...         raise EngineError("three is too much")
    ...     return [10 * i for i in items]
    >>> asyncio.run(isolate([1, 2, 3, 4], send))
    [10, 20, EngineError('three is too much'), 40]
    """
    middle = (len(items) + 1) // 2
    parts = [[*part] for part in (items[:middle], items[middle:]) if part]
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
            rest = await isolate(part, send, first=False)
            found += rest
    return found


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    base: float,
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Await ``call`` until it succeeds, at most ``attempts`` times.

    Pauses are about ``base``, 2 ``base``, 4 ``base``… seconds (with jitter, at most
    :data:`MAX_WAIT`), or what the server asks for. The last error is raised unchanged.
    """
    try:
        return await call()
    except EngineError as error:
        # Most calls succeed: only failed ones pay the overhead of tenacity.
        failed = [error]

    backoff = wait_exponential(multiplier=base, max=MAX_WAIT) + wait_random(0, base)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.seconds if isinstance(error, ServerStatusError) else 0.0
        return max(asked, backoff(state))

    async def attempt() -> T:
        if failed:
            raise failed.pop()
        return await call()  # tenacity awaits coroutine functions only, not what a lambda returns

    retries = AsyncRetrying(
        stop=stop_after_attempt(attempts),
        wait=pause,
        retry=retry_if_exception(_should_retry),
        sleep=sleep,
        reraise=True,
    )
    return await retries(attempt)


def _should_retry(error: BaseException) -> bool:
    if isinstance(error, ServerStatusError):
        return error.seconds <= MAX_WAIT
    return isinstance(error, EngineError) and error.retryable
