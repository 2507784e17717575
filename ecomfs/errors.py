"""Every exception ecomfs raises, as one tree.

    EcomfsError
    ├── InputError                 the user's data
    │   ├── MissingFileError       the path does not exist, or is not a file
    │   ├── EmptyInputError        no header, or no rows
    │   ├── ColumnError            a required column is missing or ambiguous
    │   ├── DecodingError          the bytes are in no supported encoding
    │   ├── DuplicateIdError       two rows have the same id
    │   ├── UnknownLabelError      a label outside the label space
    │   ├── ConflictError          somebody else changed it in the meantime, or it is done already
    │   ├── NotFoundError          nothing of this name or id
    │   └── RowError               one row cannot be used (kept as that row's status)
    ├── TaskError                  a task card has an error, or the task does not exist
    │   └── TemplateError          a template does not compile or render
    ├── PoolError                  the labelled examples cannot be used or stored
    │   └── DatabaseError          the database does not answer, or is full
    ├── EngineError                a model cannot be read (``retryable``: trying later may help)
    │   ├── EngineUnavailableError nothing answers, or the runtime is not installed
    │   ├── OverloadedError        too much work is queued to be done in time
    │   ├── EngineTimeoutError     no answer in time
    │   ├── ServerStatusError      an HTTP status for which a retry may help (429, 5xx)
    │   ├── RequestRefusedError    the server refuses the request itself (400, 413, 422)
    │   ├── EngineResponseError    an answer of the wrong form
    │   │   └── InvalidLogprobsError   log-probabilities that are not a distribution
    │   ├── ContextOverflowError   the prompt is longer than the model's context
    │   ├── CanaryError            the start-up check failed: results would not be reliable
    │   └── ModelError             the path or name is not a model
    ├── OutputError                results cannot be written (full disk, no permission)
    │   └── JournalError           the journal of a run is damaged, in use, or another run's
    │       └── JournalInUseError  another run is writing it
    ├── StoppedError               a signal stopped a run; finished rows are kept
    └── ConfigError                options that contradict each other
        ├── ArgumentError          an argument that the method does not accept
        └── NotFittedError         used before ``fit``

``InputError``, ``PoolError`` and ``ConfigError`` are ``ValueError`` too, as callers of an
estimator expect.

A message is one line that says what is wrong and where; ``hint`` says how to fix it.

>>> str(ColumnError("reviews.csv: no column 'text'", hint="columns are: id, review"))
"reviews.csv: no column 'text' (columns are: id, review)"
"""

from __future__ import annotations

import re

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except tab and line feed, characters that reverse the direction of text, and
unpaired surrogates."""


def printable(text: str) -> str:
    """A text with its control characters written as visible escapes.

    Messages and logs quote the text of rows; a terminal would run the escape sequences in it.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text; tabs and line feeds are kept.

    Examples
    --------
    >>> print(printable("fine \x1b[2J\u202e"))
    fine \\x1b[2J\\u202e
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


class EcomfsError(Exception):
    """Base of all errors of ecomfs.

    Parameters
    ----------
    message : str
        One line: what is wrong, where (file, row, column).
    hint : str
        How to fix it; empty when the message already says so.

    Examples
    --------
    >>> try:
    ...     raise ColumnError("in.csv: no column 'text'", hint="columns are: id, review")
    ... except EcomfsError as error:
    ...     print(error.message, "|", error.hint, "|", error.retryable)
    in.csv: no column 'text' | columns are: id, review | False
    """

    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        message = printable(message)
        super().__init__(message)
        self.message = message
        self.hint = printable(hint)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (workers, test runners); keyword arguments would be lost.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[EcomfsError], message: str, hint: str) -> EcomfsError:
    return kind(message, hint=hint)


class InputError(EcomfsError, ValueError):
    """The user's data cannot be used."""


class MissingFileError(InputError):
    """A path that does not exist, or is not a file."""


class EmptyInputError(InputError):
    """A file without a header, or without rows."""


class ColumnError(InputError):
    """A required column is missing, repeated or ambiguous."""


class DecodingError(InputError):
    """Bytes that are in no supported encoding."""


class DuplicateIdError(InputError):
    """Two rows have the same id."""


class UnknownLabelError(InputError):
    """A label that is not in the label space."""


class RowError(InputError):
    """One row cannot be classified; its status becomes ``failed``."""


class ConflictError(InputError):
    """Somebody else changed the data in the meantime, or the change is done already."""


class NotFoundError(InputError):
    """Nothing has this name or id."""


class TaskError(EcomfsError):
    """A task card with an error, or a task that does not exist."""


class TemplateError(TaskError):
    """A template that does not compile, or does not render."""


class PoolError(EcomfsError, ValueError):
    """Labelled examples that cannot be stored or used as a pool."""


class DatabaseError(PoolError):
    """The database does not answer, is full or is read-only; no part of the change is stored."""


class EngineError(EcomfsError):
    """A model could not be read."""


class EngineUnavailableError(EngineError):
    """Nothing answers at the address, or the runtime is not installed."""

    retryable = True


class OverloadedError(EngineError):
    """Too much work is queued for a new request to be done in time.

    Attributes:
        seconds: estimated time until new work is accepted; 0 when unknown.
    """

    retryable = True

    def __init__(self, message: str, *, hint: str = "", seconds: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


class EngineTimeoutError(EngineError):
    """No answer within the time-out."""

    retryable = True


class ServerStatusError(EngineError):
    """A server answered with an HTTP status for which a retry may help.

    Attributes:
        seconds: pause that the server asks for; 0 when it asks for none.
        busy: the server is overloaded (429, 503) and did not fail.
    """

    retryable = True

    def __init__(
        self, message: str, *, hint: str = "", seconds: float = 0.0, busy: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds
        self.busy = busy


class RequestRefusedError(EngineError):
    """A server refuses the request itself (HTTP 400, 413, 422); a retry would not help."""


class EngineResponseError(EngineError):
    """An answer of the wrong form, such as one without log-probabilities."""

    retryable = True


class InvalidLogprobsError(EngineResponseError):
    """Log-probabilities that are not a distribution: NaN, infinite, or with a sum above one."""

    retryable = False  # the same prompt overflows the same model again


class ContextOverflowError(EngineError):
    """A prompt longer than the model's context."""


class CanaryError(EngineError):
    """The start-up check failed: results of this engine would not be reliable."""


class ModelError(EngineError):
    """A path or name that is not a model this engine can load."""


class OutputError(EcomfsError):
    """Results cannot be written."""


class JournalError(OutputError):
    """The journal of a run is damaged, in use, or from a run with other input, model, examples or
    options."""


class JournalInUseError(JournalError):
    """Another running process is writing the journal."""


class StoppedError(EcomfsError):
    """A signal asked a run to stop. Rows in flight were finished and are kept.

    Attributes:
        signal: its number.
    """

    def __init__(self, message: str, *, hint: str = "", signal: int = 2) -> None:
        super().__init__(message, hint=hint)
        self.signal = signal


class ConfigError(EcomfsError, ValueError):
    """Options that contradict each other."""


class ArgumentError(ConfigError, TypeError):
    """An argument that the method does not accept."""


class NotFittedError(ConfigError, AttributeError):
    """Used before ``fit``. If scikit-learn is loaded, it is also scikit-learn's
    ``NotFittedError``."""
