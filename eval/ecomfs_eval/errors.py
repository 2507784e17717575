"""Every exception the harness raises, as one tree.

    EvalError
    ├── DataError                  a predictions file, frame or array cannot be used
    │   ├── MissingFileError       the path is not there, or is not a file
    │   ├── EmptyDataError         no header, or no rows
    │   ├── FileFormatError        the bytes, the JSON or the table are broken
    │   ├── ColumnError            a needed column is absent, doubled or of the wrong length
    │   ├── RowError               one row holds a value that cannot be used
    │   │   ├── UnknownLabelError  a label outside the label space
    │   │   └── ProbabilityError   not a distribution over the labels
    │   ├── DuplicateIdError       one id names two rows
    │   └── RowsDifferError        two files that should hold the same rows do not
    ├── OptionError                options that contradict each other or the data
    ├── OutputError                results cannot be written
    └── MissingLibraryError        an optional library is needed and absent

A message is one line that says what is wrong and where (file, row, column); ``hint`` is the mend.

>>> str(EmptyDataError("runs/a.csv: no rows", hint="the header is there, the rows are not"))
'runs/a.csv: no rows (the header is there, the rows are not)'
"""

from __future__ import annotations

from collections.abc import Callable


class EvalError(Exception):
    """Base of all errors of the harness.

    Args:
        message: one line: what is wrong, where.
        hint: what the user does about it; empty when the message says it already.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Callable[..., EvalError], tuple[type[EvalError], str, str]]:
        # Exceptions cross process borders (workers, test runners); keyword arguments would be lost.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[EvalError], message: str, hint: str) -> EvalError:
    return kind(message, hint=hint)


class DataError(EvalError):
    """Data that cannot be scored as it is."""


class MissingFileError(DataError):
    """A path that is not there, or is not a file."""


class EmptyDataError(DataError):
    """No header, or no rows."""


class FileFormatError(DataError):
    """A file that is not the table it should be."""


class ColumnError(DataError):
    """A needed column is absent, doubled or of the wrong length."""


class RowError(DataError):
    """One row holds a value that cannot be used."""


class UnknownLabelError(RowError):
    """A label that is not in the label space."""


class ProbabilityError(RowError):
    """Numbers that are not a distribution over the labels."""


class DuplicateIdError(DataError):
    """One id that names two rows."""


class RowsDifferError(DataError):
    """Two sets of rows that should be the same are not."""


class OptionError(EvalError):
    """Options that contradict each other, or the data."""


class OutputError(EvalError):
    """Results cannot be written."""


class MissingLibraryError(EvalError):
    """An optional library is needed for this and is not installed."""
