"""Progress of long work: a protocol that reports it, and displays that show it.

Code reports its phase, the steps done and the steps in all: ``progress("fitting", 16, 48)``. A
phase is reported before its work starts. :class:`Terminal`, :class:`Lines` and :class:`Notebook`
show the reports; :class:`Phases` also times the phases. Heavy packages are imported at first use.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

CHECKING = "checking the input"
LOADING = "loading the model"
EMBEDDING = "embedding"
TUNING = "choosing k and read-out"
FITTING = "fitting"
READING = "reading"
WRITING = "writing"
MEASURING = "measuring"

LOADED_AT = time.monotonic()
"""Time at which this module was loaded (``time.monotonic``), close to the start of a command."""
_EVERY = 10.0
"""Seconds between two lines of :class:`Lines` in one phase."""


class Progress(Protocol):
    """Signature of a progress callback; :func:`silent` is one that shows nothing."""

    def __call__(
        self, phase: str, done: int = 0, total: int | None = None, detail: str = ""
    ) -> None:
        """Report progress.

        Args:
            phase: name of the work; a new name starts a new phase.
            done: steps that are done.
            total: steps in all; ``None``: unknown, or nothing to count.
            detail: further text to show, such as a speed.
        """


def silent(phase: str, done: int = 0, total: int | None = None, detail: str = "") -> None:
    """Show nothing."""


def within(progress: Progress, name: str) -> Progress:
    """Progress with ``name`` in front of each phase.

    >>> within(lambda phase, *_: print(phase), "v2")("fitting", 0, 48)
    v2: fitting
    """
    return lambda phase, *steps, **more: progress(f"{name}: {phase}", *steps, **more)


def part(progress: Progress, name: str, before: int, of: int) -> Progress:
    """Progress for a part of a phase of ``of`` steps, after the first ``before`` of them.

    >>> part(lambda *report: print(*report), "fitting", 32, 48)("fitting", 8, 16)
    fitting 40 48
    """
    if progress is silent:
        return silent

    def report(phase: str, done: int = 0, total: int | None = None, detail: str = "") -> None:
        progress(name, before + done, of, detail)

    return report


class Display:
    """Base class of the displays; it shows nothing. ``clear`` hides the display until the next
    report, so that other output can be written."""

    def __call__(
        self, phase: str, done: int = 0, total: int | None = None, detail: str = ""
    ) -> None:
        """Show it."""

    def clear(self) -> None:
        """Hide the display until the next report."""


class Lines(Display):
    """Plain lines, for logs and pipes: the first report of a phase at once, then one every ten
    seconds at most. :data:`CHECKING` is not written.

    Args:
        write: takes a line.
        clock: seconds that only go up.

    >>> now = [0.0]
    >>> lines = Lines(print, clock=lambda: now[0])
    >>> for done in range(4):
    ...     lines("reading", done, 4)
    ...     now[0] += 6
    reading: 0 of 4
    reading: 2 of 4
    >>> lines("writing")
    writing
    """

    def __init__(
        self, write: Callable[[str], Any], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._phase = ""
        self._shown = -_EVERY

    def __call__(
        self, phase: str, done: int = 0, total: int | None = None, detail: str = ""
    ) -> None:
        """Write a line, unless one was written just now."""
        if phase == CHECKING:
            return  # quick, and an input error is one line of its own
        now = self._clock()
        if phase == self._phase and now - self._shown < _EVERY:
            return
        self._phase, self._shown = phase, now
        self._write(": ".join(filter(None, (phase, _steps(done, total, detail)))))


class Terminal(Display):
    """One line on standard error that is updated: a bar and the seconds of the phase."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._phase = ""

    def __call__(
        self, phase: str, done: int = 0, total: int | None = None, detail: str = ""
    ) -> None:
        """Show it."""
        if self._bar is None:
            self._open()
        if phase != self._phase:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._phase = self._bar.add_task(phase, total=None, shown=""), phase
        shown = _steps(done, total, detail)
        self._bar.update(self._task, completed=done, total=total, shown=shown)
        self._bar.refresh()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()

    def clear(self) -> None:
        """Erase the line."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
        self._phase = ""


class Notebook(Display):
    """A bar per phase, drawn by tqdm if it is installed, else by rich."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __call__(
        self, phase: str, done: int = 0, total: int | None = None, detail: str = ""
    ) -> None:
        """Show it."""
        if self._bar is None or phase != self._phase:
            self.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm warns without widgets; plain bars will do
                from tqdm.auto import tqdm

                self._bar = tqdm(desc=phase, total=total, leave=False)
            self._phase = phase
        self._bar.total = total
        self._bar.set_postfix_str(detail, refresh=False)
        self._bar.update(done - self._bar.n)
        self._bar.refresh()

    def clear(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._phase = None, ""


def count(done: int, total: int | None) -> str:
    """The steps as text; empty when there is nothing to count.

    >>> count(16, 48), count(1200, None), count(0, None)
    ('16 of 48', '1,200', '')
    """
    if total is not None:
        return f"{done:,} of {total:,}"
    return f"{done:,}" if done else ""


def _steps(done: int, total: int | None, detail: str) -> str:
    return ", ".join(filter(None, (count(done, total), detail)))


class Phases:
    """Passes progress to a display and times each phase.

    Args:
        started: start of the work, by ``clock``; ``None``: now.

    >>> now = iter([0.0, 1.0, 3.0, 7.0, 8.0])
    >>> phases = Phases(clock=lambda: next(now))
    >>> phases("loading the model")
    >>> phases("fitting", 0, 48)
    >>> phases("reading", 0, 8)
    >>> phases.finish()
    8.0
    >>> print(phases.text())
    8.0 s in all: loading the model 2.0 s, fitting 4.0 s, reading 1.0 s
    """

    def __init__(
        self,
        display: Display | None = None,
        *,
        started: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._display = Display() if display is None else display
        self._clock = clock
        self.started = clock() if started is None else started
        self.seconds: dict[str, float] = {}
        """Phase → wall time in it."""
        self.total: float | None = None
        """Wall time of the whole; ``None`` until :meth:`finish`."""
        self._phase = ""
        self._since = self.started

    def __call__(
        self, phase: str, done: int = 0, total: int | None = None, detail: str = ""
    ) -> None:
        """Show it, and time the phase."""
        if phase != self._phase:
            self._turn(phase)
        self._display(phase, done, total, detail)

    def clear(self) -> None:
        """Make room for other output."""
        self._display.clear()

    def finish(self) -> float:
        """End the last phase and return the total wall time."""
        self.total = self._turn("") - self.started
        self.clear()
        return self.total

    def text(self) -> str:
        """One line with the total time and the phases of at least 0.05 s."""
        total = self.finish() if self.total is None else self.total
        parts = [f"{name} {took:.1f} s" for name, took in self.seconds.items() if took >= 0.05]
        return f"{total:.1f} s in all" + (f": {', '.join(parts)}" if parts else "")

    def _turn(self, phase: str) -> float:
        now = self._clock()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now
        return now


def display() -> Display:
    """The display for this process: bars in a notebook, one updated line on a terminal, else plain
    lines on standard error."""
    if in_notebook():
        return Notebook() if find_spec("tqdm") else Terminal()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Terminal()
    return Lines(lambda line: print(line, file=sys.stderr, flush=True))


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def showing(wanted: Progress | bool | None) -> Iterator[Progress]:
    """Progress in the form that the caller of the library asked for.

    Args:
        wanted: what to report to; ``True``: :func:`display`; ``False``: nothing; ``None``: a
            display in notebooks, nothing elsewhere.
    """
    if wanted is None:
        wanted = in_notebook()
    if not isinstance(wanted, bool):
        yield wanted
    elif not wanted:
        yield silent
    else:
        shown = display()
        try:
            yield shown
        finally:
            shown.clear()
