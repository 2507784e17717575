"""Load balancing of model servers: requests in flight, rate limits, health checks."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ecomfs.errors import EngineError

logger = logging.getLogger(__name__)

ServerCheck = Callable[[str], Awaitable[None]]
"""Checks the server at an address; raises an :class:`EngineError` if it must not be used."""

IN_A_ROW = 3
"""Consecutive failures after which a server that still listens is marked unhealthy."""
_LONGEST_PAUSE = 30.0  # seconds between two probes


def _now() -> float:
    return asyncio.get_running_loop().time()


class Window:
    """Limits requests in flight to one server: additive increase, multiplicative decrease
    (TCP's congestion window: Chiu & Jain 1989; RFC 5681, 3.1).

    Args:
        most: upper limit; the window starts there.

    Attributes:
        in_flight: requests sent and not yet answered.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._size = float(self._most)
        self._age = 0
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Most requests in flight now; at least one."""
        return int(self._size)

    @property
    def room(self) -> int:
        """Requests that may be sent now."""
        return max(0, self.limit - self.in_flight)

    def enter(self) -> int:
        """Count a request as sent; pass the result to :meth:`overloaded`."""
        self.in_flight += 1
        return self._age

    def leave(self) -> None:
        """Count a request as finished, answered or not."""
        self.in_flight -= 1

    def answered(self) -> None:
        """Grow by one request per window of answers."""
        self._size = min(self._most, self._size + 1 / self.limit)

    def overloaded(self, sent: int) -> None:
        """Halve the window after 429, 503 or a time-out. Requests sent before the last halving are
        ignored, since they do not apply to the smaller window."""
        if sent == self._age:
            self._size = max(1.0, self._size / 2)
            self._age += 1


class RateLimit:
    """Spaces calls evenly so that no minute exceeds the limit, for calls of any size (the generic
    cell rate algorithm without burst; ITU-T I.371, annex A). A token bucket would allow twice the
    limit within one minute.

    Args:
        per_minute: limit per minute; ``None``: no limit.
        clock: monotonic clock in seconds.
        sleep: sleep function (for tests).

    Raises:
        ValueError: ``per_minute`` is not above 0.
    """

    def __init__(
        self,
        per_minute: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if per_minute is not None and not per_minute > 0:
            raise ValueError(f"{per_minute} per minute")
        self._each = 0.0 if per_minute is None else 60 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._free = 0.0

    async def take(self, amount: float) -> None:
        """Wait until ``amount`` is within the limit."""
        now = self._clock()
        start = max(now, self._free)
        self._free = start + amount * self._each
        if start > now:
            await self._sleep(start - now)

    def correct(self, more: float) -> None:
        """Correct for the last call, which used ``more`` than was reserved (less, if negative)."""
        self._free += more * self._each


class ModelServer:
    """One server of a pool, on one event loop.

    Attributes:
        window: limits requests in flight.
        unhealthy: the error for which it gets no requests; ``None`` while it is healthy.
        failures: number of consecutive failures; ``most_failures`` mark it unhealthy.
        confirmed: time of the last check that its model is unchanged, in the event loop's seconds.
    """

    def __init__(self, url: str, most: int) -> None:
        self.url = url
        self.window = Window(most)
        self.unhealthy: EngineError | None = None
        self.failures = 0
        self.most_failures = IN_A_ROW
        self.confirmed = _now()
        self.confirming = asyncio.Lock()
        self.next_probe = 0.0
        self.pause = 0.0
        self.probes = 0
        self.lock = asyncio.Lock()


class ServerPool:
    """Equal servers on one event loop: the least busy healthy one gets the next request.

    Args:
        urls: their addresses.
        most: most requests in flight per server.
        revive: checks an unhealthy server before it is used again.
        pause: seconds until the first probe of an unhealthy server; doubles up to half a minute.
        confirm: checks that the model of a healthy server is unchanged.
        confirm_every: seconds between two such checks.
    """

    def __init__(
        self,
        urls: Sequence[str],
        most: int,
        revive: ServerCheck,
        pause: float,
        *,
        confirm: ServerCheck | None = None,
        confirm_every: float = math.inf,
    ) -> None:
        self._all = [ModelServer(url, most) for url in urls]
        self._revive = revive
        self._pause = pause
        self._confirm = confirm
        self._every = confirm_every
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._probing: dict[str, asyncio.Task[None]] = {}

    @property
    def healthy(self) -> list[ModelServer]:
        """The servers that get requests."""
        return [server for server in self._all if server.unhealthy is None]

    async def acquire(self) -> tuple[ModelServer, int]:
        """Wait for room on the least busy server; returns it and the result of ``Window.enter``.

        Raises:
            EngineError: all servers are unhealthy, and a probe has just failed.
        """
        while True:
            self._probe_due()
            if not self.healthy:
                await self._probe(min(self._all, key=lambda server: server.probes))
                continue
            with_room = [server for server in self.healthy if server.window.room]
            if with_room:
                server = min(with_room, key=lambda one: one.window.in_flight)
                return server, server.window.enter()
            await self._wait_for_room()

    def release(self, server: ModelServer) -> None:
        """Count a request as finished, answered or not."""
        server.window.leave()
        self._wake()

    async def _wait_for_room(self) -> None:
        """Wait until there is room. Only as many waiting requests are woken as there is room for,
        since waking thousands would cost more than the requests."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()  # another request takes the room
            raise

    def _wake(self) -> None:
        healthy = self.healthy
        room = sum(server.window.room for server in healthy)
        while self._waiting and (room > 0 or not healthy):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    async def confirm(self, server: ModelServer, since: float | None = None) -> None:
        """Check that the model of a server is unchanged, unless this was checked after ``since``
        (default: some minutes ago). One check runs at a time.

        Raises:
            EngineError: the model has changed; the server is marked unhealthy.
        """
        wanted = _now() - self._every if since is None else since
        if self._confirm is None or server.confirmed > wanted:
            return
        async with server.confirming:
            if server.unhealthy is not None:
                raise server.unhealthy
            if server.confirmed > wanted:
                return
            started = _now()
            try:
                await self._confirm(server.url)
            except EngineError as error:
                self.failed(server, error, unreachable=True)
                raise
            server.confirmed = started

    def gave_no_distribution(self, server: ModelServer, error: EngineError) -> None:
        """Count an answer that is not a distribution. After :data:`IN_A_ROW` of them the server is
        marked unhealthy, even if it is the only one: the canary then decides whether the rows or
        the server are the cause. The limit doubles each time, so that faulty rows do not cost a
        canary each."""
        server.failures += 1
        if server.failures >= server.most_failures:
            server.most_failures *= 2
            self.failed(server, error, unreachable=True)

    def succeeded(self, server: ModelServer) -> None:
        """Count a good answer of a server."""
        server.failures = 0
        server.window.answered()

    def failed(self, server: ModelServer, error: EngineError, *, unreachable: bool) -> None:
        """Count a failure of a server. It is marked unhealthy at once if it is unreachable, else
        after :data:`IN_A_ROW` failures if another server is healthy."""
        server.failures += 1
        others = [one for one in self.healthy if one is not server]
        if server.unhealthy is None and (unreachable or (server.failures >= IN_A_ROW and others)):
            server.unhealthy = error
            server.pause = self._pause
            server.next_probe = _now() + server.pause
            logger.warning(
                "%s marked unhealthy, %d of %d servers healthy: %s",
                *(server.url, len(others), len(self._all), error),
            )

    def _probe_due(self) -> None:
        for server in self._all:
            due = server.unhealthy is not None and server.next_probe <= _now()
            if due and server.url not in self._probing:
                self._probing[server.url] = asyncio.create_task(self._probe_quietly(server))

    async def _probe_quietly(self, server: ModelServer) -> None:
        try:
            await self._probe(server)
        except EngineError as error:
            logger.info("%s still unhealthy: %s", server.url, error)
        finally:
            self._probing.pop(server.url, None)

    async def _probe(self, server: ModelServer) -> None:
        """Probe a server and use it again if it passes. One probe runs at a time; all callers that
        wait for it get its result."""
        seen = server.probes
        async with server.lock:
            if server.unhealthy is None:
                return
            if server.probes > seen:
                raise server.unhealthy
            try:
                await self._revive(server.url)
            except EngineError as error:
                server.unhealthy = error
                server.pause = min(_LONGEST_PAUSE, 2 * server.pause)
                server.next_probe = _now() + server.pause
                raise
            else:
                server.unhealthy, server.failures = None, 0
                logger.warning("%s recovered", server.url)
            finally:
                server.probes += 1
        self._wake()

    async def aclose(self) -> None:
        """Cancel running probes."""
        for task in list(self._probing.values()):
            task.cancel()
