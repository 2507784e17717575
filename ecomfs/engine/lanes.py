"""Several equal servers: which one gets the next request, and which one is out for now."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ecomfs.engine.aimd import Window
from ecomfs.errors import EngineError

logger = logging.getLogger(__name__)

Revive = Callable[[str], Awaitable[None]]
"""Checks a server that was gone; raises the :class:`EngineError` that keeps it out."""

IN_A_ROW = 3
"""Failures in a row after which a server that still listens is taken out."""
_LONGEST = 30.0  # seconds between two probes


class Lane:
    """One server, on one event loop.

    Attributes:
        url: its address.
        window: how much it bears.
        gone: why it is out; ``None`` while it is in.
    """

    def __init__(self, url: str, most: int) -> None:
        self.url = url
        self.window = Window(most)
        self.gone: EngineError | None = None
        self.failures = 0
        self.due = 0.0
        self.pause = 0.0
        self.probes = 0
        self.lock = asyncio.Lock()


class Lanes:
    """The servers of one event loop.

    Args:
        urls: their addresses.
        most: requests in flight at once, a server.
        revive: how to check a server that comes back.
        pause: seconds until a server that is gone is probed for the first time; doubles up to
            half a minute.
    """

    def __init__(self, urls: Sequence[str], most: int, revive: Revive, pause: float) -> None:
        self._all = [Lane(url, most) for url in urls]
        self._revive = revive
        self._pause = pause
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._probing: dict[str, asyncio.Task[None]] = {}

    @property
    def alive(self) -> list[Lane]:
        """The servers that are in."""
        return [lane for lane in self._all if lane.gone is None]

    async def take(self) -> tuple[Lane, int]:
        """The least busy server, as soon as one has room, and what its window handed out.

        Raises:
            EngineError: all servers are gone, and one that was probed now still is.
        """
        while True:
            self._probe_due()
            if not self.alive:
                await self._back(min(self._all, key=lambda lane: lane.probes))
                continue
            open_ones = [lane for lane in self.alive if lane.window.open]
            if open_ones:
                lane = min(open_ones, key=lambda one: one.window.busy)
                return lane, lane.window.enter()
            await self._turn()

    def give(self, lane: Lane) -> None:
        """A request came back."""
        lane.window.leave()
        self._wake()

    async def _turn(self) -> None:
        """Wait until there may be room. Only as many are woken as there is room for: with all of
        them, thousands of waiting requests would cost more than the requests themselves."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()  # the room is another's now
            raise

    def _wake(self) -> None:
        alive = self.alive
        room = sum(max(0, lane.window.limit - lane.window.busy) for lane in alive)
        while self._waiting and (room > 0 or not alive):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def works(self, lane: Lane) -> None:
        """A server answered."""
        lane.failures = 0
        lane.window.answered()

    def fails(self, lane: Lane, error: EngineError, *, unreachable: bool) -> None:
        """A server did not answer, or not well. It is taken out at once when it cannot be reached,
        and after :data:`IN_A_ROW` failures while another one is in."""
        lane.failures += 1
        others = [one for one in self.alive if one is not lane]
        if lane.gone is None and (unreachable or (lane.failures >= IN_A_ROW and others)):
            lane.gone = error
            lane.pause = self._pause
            lane.due = asyncio.get_running_loop().time() + lane.pause
            logger.warning(
                "%s is out, %d of %d are in: %s", lane.url, len(others), len(self._all), error
            )

    def _probe_due(self) -> None:
        now = asyncio.get_running_loop().time()
        for lane in self._all:
            if lane.gone is not None and lane.due <= now and lane.url not in self._probing:
                self._probing[lane.url] = asyncio.create_task(self._try(lane))

    async def _try(self, lane: Lane) -> None:
        try:
            await self._back(lane)
        except EngineError as error:
            logger.info("%s stays out: %s", lane.url, error)
        finally:
            self._probing.pop(lane.url, None)

    async def _back(self, lane: Lane) -> None:
        """Take a server in again, if it passes; one probe at a time, whose outcome serves all that
        waited for it."""
        seen = lane.probes
        async with lane.lock:
            if lane.gone is None:
                return
            if lane.probes > seen:
                raise lane.gone
            try:
                await self._revive(lane.url)
            except EngineError as error:
                lane.gone = error
                lane.pause = min(_LONGEST, 2 * lane.pause)
                lane.due = asyncio.get_running_loop().time() + lane.pause
                raise
            else:
                lane.gone, lane.failures = None, 0
                logger.warning("%s is in again", lane.url)
            finally:
                lane.probes += 1
        self._wake()

    async def aclose(self) -> None:
        """End the probes."""
        for task in list(self._probing.values()):
            task.cancel()
