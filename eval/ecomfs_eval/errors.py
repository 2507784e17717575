"""The exceptions of the harness, in one hierarchy.

    EvalError
    ├── DataError               a file, frame, row or array cannot be scored as it is
    │   ├── NoSuchFileError     the path does not exist, or is not a file
    │   ├── EmptyDataError      no header, or no rows
    │   └── RowsDifferError     two sets of rows that must be the same are not
    ├── OptionError             options that contradict each other or the data
    ├── WriteError              results cannot be written
    └── MissingLibraryError     an optional library is needed and not installed

A message is one line: what is wrong and where (file, row, column). ``hint`` says how to fix it.

>>> str(EmptyDataError("runs/a.csv: no rows", hint="write one row per prediction"))
'runs/a.csv: no rows (write one row per prediction)'
"""

from __future__ import annotations

from collections.abc import Callable


class EvalError(Exception):
    """Base class of every error of the harness.

    Args:
        message: one line: what is wrong, and where.
        hint: how to fix it; empty when the message already says so.

    >>> error = EvalError("a.csv: no column 'gold'", hint="columns are: id, label")
    >>> error.message, error.hint
    ("a.csv: no column 'gold'", 'columns are: id, label')
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Callable[..., EvalError], tuple[type[EvalError], str, str]]:
        # Pickled between processes (workers, test runners); keyword arguments would be lost.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[EvalError], message: str, hint: str) -> EvalError:
    return kind(message, hint=hint)


class DataError(EvalError):
    """Data that cannot be scored as it is."""


class NoSuchFileError(DataError):
    """The path does not exist, or is not a file."""


class EmptyDataError(DataError):
    """No header, or no rows."""


class RowsDifferError(DataError):
    """Two sets of rows that must be the same are not."""


class OptionError(EvalError):
    """Options that contradict each other or the data."""


class WriteError(EvalError):
    """Results cannot be written."""


class MissingLibraryError(EvalError):
    """An optional library is needed and not installed."""
