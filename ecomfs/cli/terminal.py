"""Safe output and progress on a terminal. Control characters in rows, labels and file names are
escaped, so that they cannot move the cursor, hide lines or set the title."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

from ecomfs.core.progress import Display, Phases, display
from ecomfs.errors import printable


def say(*words: object, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """``print`` with control characters escaped.

    >>> say("label", "\x1b[2J")
    label \\x1b[2J
    """
    text = printable(" ".join(map(str, words)))
    print(text, file=file or sys.stdout, end=end, flush=flush)


class PrintableFormatter(logging.Formatter):
    """A log formatter that escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().format(record))


clock = time.monotonic
_began: float | None = None
_shown: Phases | None = None
_quiet = False


def begin(at: float | None = None) -> None:
    """Set the start time of the command, by :data:`clock`; default: now."""
    global _began, _quiet
    _began = clock() if at is None else at
    _quiet = False


def be_quiet(*, quiet: bool) -> None:
    """Switch the progress display off or on (``--quiet``)."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether the progress display is off."""
    return _quiet


def show_phases(phase: str) -> Phases:
    """Show the phases of a command on standard error (not with ``--quiet``), and measure their time
    from the start of the command.

    A command calls this before any slow import. The display is cleared when the command ends.

    Args:
        phase: name of the first phase.
    """
    global _shown
    _shown = Phases(Display() if _quiet else display(), started=_began, clock=clock)
    _shown(phase)
    return _shown


def clear() -> None:
    """Clear the display for other output."""
    if _shown is not None:
        _shown.clear()
