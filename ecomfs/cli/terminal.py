"""What reaches a terminal: text of rows, labels and file names is printed with its control
characters visible, so that it moves no cursor, hides no line and sets no title; and progress."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

from ecomfs.core.progress import Display, Phases, display
from ecomfs.errors import printable


def say(*words: object, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """As ``print``, with control characters visible.

    >>> say("label", "\x1b[2J")
    label \\x1b[2J
    """
    text = printable(" ".join(map(str, words)))
    print(text, file=file or sys.stdout, end=end, flush=flush)


class PrintableFormatter(logging.Formatter):
    """Lines of a log with control characters visible."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().format(record))


clock = time.monotonic
_began: float | None = None
_shown: Phases | None = None
_quiet = False


def begin(at: float | None = None) -> None:
    """Note when the command began, by :data:`clock`: now, or earlier."""
    global _began, _quiet
    _began = clock() if at is None else at
    _quiet = False


def be_quiet(*, quiet: bool) -> None:
    """Whether the command shows its progress (``--quiet``)."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether the command shows no progress."""
    return _quiet


def show_phases(phase: str) -> Phases:
    """Show the phases of a command on standard error (nothing with ``--quiet``), and time them from
    the beginning of the command. A verb calls this before any slow import;
    the display is cleared when the verb returns or fails.

    Args:
        phase: the first one.
    """
    global _shown
    _shown = Phases(Display() if _quiet else display(), started=_began, clock=clock)
    _shown(phase)
    return _shown


def clear() -> None:
    """Clear the display for other output."""
    if _shown is not None:
        _shown.clear()
