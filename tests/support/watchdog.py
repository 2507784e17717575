"""A time limit that needs no lock of Python's.

pytest-timeout ends a test by a signal, or from another thread, and both have to wait for Python's
lock: C code that hangs while it holds the lock (a destructor that joins a thread, say) hangs the
whole suite, for ever, and Ctrl-C too. ``faulthandler.dump_traceback_later`` waits in a thread of C
that touches no lock, writes where every thread stands, and ends the process at once.

It is the second line: its limit lies above pytest-timeout's, so that a test that *can* be ended by
itself is, and the others go on. pytest's own plugin sets the same timer only when
``faulthandler_timeout`` is set, which it must not be: it would replace this one, and it does not
end anything. Each test process (pytest-xdist) has a timer of its own: one that ends is reported as
crashed, with the test that it ran, and another takes its place.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator

import pytest

MARGIN = 60.0
"""Seconds that pytest-timeout has to end a test by itself."""
OVERALL = 4 * 3600.0
"""Seconds for everything: collecting, all tests, and the end of the interpreter."""


class Watchdog:
    """A pytest plugin that ends the process when a test, or the whole run, takes too long. Make it
    in ``pytest_configure``: while conftest files are imported, output is captured.

    Args:
        margin: seconds above a test's own limit.
        overall: seconds for the whole run.
    """

    def __init__(self, margin: float = MARGIN, overall: float = OVERALL) -> None:
        self._margin = margin
        self._end = time.monotonic() + overall
        self._due = self._end
        # Output is captured while a test runs; this is where it goes otherwise.
        self._out = os.dup(2)
        self._arm(self._end)
        # The timer's thread is not in a forked child, which would wait for it when it ends.
        os.register_at_fork(
            before=faulthandler.cancel_dump_traceback_later,
            after_in_parent=lambda: self._arm(self._due),
            after_in_child=lambda: self._arm(self._due),
        )

    def ends(self, end: float) -> None:
        """Set the end of the whole run, by the monotonic clock."""
        self._end = end

    def _arm(self, due: float) -> None:
        self._due = min(due, self._end)
        left = max(0.001, self._due - time.monotonic())
        faulthandler.dump_traceback_later(left, exit=True, file=self._out)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        limit = _limit(item)
        self._arm(time.monotonic() + limit + self._margin if limit else self._end)
        try:
            return (yield)
        finally:
            self._arm(self._end)

    def pytest_enter_pdb(self) -> None:
        """No limit while a person uses the debugger."""
        faulthandler.cancel_dump_traceback_later()


def _limit(item: pytest.Item) -> float:
    """A test's limit as pytest-timeout has it; 0: none."""
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        given = marker.args[0] if marker.args else marker.kwargs.get("timeout", 0)
    else:
        given = item.config.getoption("timeout", None)
        if given is None:
            given = item.config.getini("timeout")
    return float(given or 0)
