"""How many requests a server bears, found out by asking: additive increase, multiplicative
decrease (the congestion window of TCP: Chiu & Jain 1989; RFC 5681, 3.1)."""

from __future__ import annotations


class Window:
    """Bounds the requests in flight to one server.

    Args:
        most: never more than this; the window starts there.

    Attributes:
        busy: requests in flight.

    >>> window = Window(8)
    >>> sent = window.enter()
    >>> window.overloaded(sent)
    >>> window.limit
    4
    >>> for _ in range(4):
    ...     window.answered()
    >>> window.limit
    5
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._size = float(self._most)
        self._age = 0
        self.busy = 0

    @property
    def limit(self) -> int:
        """Requests that may be in flight now; at least one."""
        return int(self._size)

    @property
    def open(self) -> bool:
        """Whether one more may be sent."""
        return self.busy < self.limit

    def enter(self) -> int:
        """A request is sent; the result is to be handed to :meth:`overloaded`."""
        self.busy += 1
        return self._age

    def leave(self) -> None:
        """It came back, well or not."""
        self.busy -= 1

    def answered(self) -> None:
        """A request was answered: one more at a time, once all of a window were answered."""
        self._size = min(self._most, self._size + 1 / self.limit)

    def overloaded(self, sent: int) -> None:
        """The server was too busy for a request (429, 503, no answer in time): half as many at a
        time. Requests that were sent before the last halving say nothing new."""
        if sent == self._age:
            self._size = max(1.0, self._size / 2)
            self._age += 1
