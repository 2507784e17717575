"""What reaches a terminal: text of rows, labels and file names is printed with its control
characters visible, so that it moves no cursor, hides no line and sets no title."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

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


__all__ = ["PrintableFormatter", "say"]
