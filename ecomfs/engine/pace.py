"""No more than so much a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """Spaces calls evenly, so that no minute holds more than its share whatever the size of a call
    (the generic cell rate algorithm without a burst; ITU-T I.371, annex A). A bucket would let a
    minute's worth go at once, and another one within the same minute.

    Args:
        per_minute: how much a minute; ``None``: no limit.
        clock: seconds, only growing.
        sleep: how to wait.

    Raises:
        ValueError: ``per_minute`` is not above 0.

    >>> now = [0.0]
    >>> async def sleep(seconds: float) -> None:
    ...     now[0] += seconds
    >>> async def three(pace: Pace) -> float:
    ...     for _ in range(3):
    ...         await pace.take(10)
    ...     return now[0]
    >>> asyncio.run(three(Pace(60, clock=lambda: now[0], sleep=sleep)))
    20.0
    """

    def __init__(
        self,
        per_minute: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if per_minute is not None and not per_minute > 0:
            raise ValueError(f"{per_minute} a minute")
        self._each = 0.0 if per_minute is None else 60 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._free = 0.0

    async def take(self, amount: float) -> None:
        """Wait until ``amount`` more is within the limit."""
        now = self._clock()
        start = max(now, self._free)
        self._free = start + amount * self._each
        if start > now:
            await self._sleep(start - now)

    def correct(self, more: float) -> None:
        """The last call took ``more`` than it was let in for (less, if negative)."""
        self._free += more * self._each
