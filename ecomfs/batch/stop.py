"""Ctrl-C and SIGTERM as a request to finish what is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While it is entered, the first SIGINT or SIGTERM only sets :attr:`signal`; a second SIGINT
    raises :class:`KeyboardInterrupt` as usual.

    Signals reach the main thread only; in other threads entering does nothing.

    Args:
        on_request: called once, with the signal's number, in the main thread.

    >>> import os
    >>> with Stop() as stop:
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     stop.signal
    15
    """

    def __init__(self, on_request: Callable[[int], None] = lambda number: None) -> None:
        self.signal: int | None = None
        self._requested = False
        self._on_request = on_request
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came, or :meth:`request` was called."""
        return self.signal is not None or self._requested

    def request(self) -> None:
        """Ask for the end without a signal; from any thread."""
        self._requested = True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            self._on_request(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
