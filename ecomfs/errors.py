"""Every exception ecomfs raises, as one tree.

    EcomfsError
    ├── InputError                 the user's data
    │   ├── MissingFileError       the path is not there, or is not a file
    │   ├── EmptyInputError        no header, or no rows
    │   ├── ColumnError            a needed column is absent or ambiguous
    │   ├── DecodingError          the bytes are in no supported encoding
    │   ├── DuplicateIdError       one id names two rows
    │   ├── UnknownLabelError      a label outside the label space
    │   ├── ConflictError          changed by somebody else meanwhile, or done already
    │   ├── NotFoundError          nothing of this name or id
    │   └── RowError               one row cannot be used (kept as that row's status)
    ├── TaskError                  a task card is wrong, or there is none of that name
    │   └── TemplateError          a template does not compile or render
    ├── PoolError                  the labelled examples cannot be used or stored
    │   └── DatabaseError          the database does not answer, or is full
    ├── EngineError                a model cannot be read (``retryable`` says if later may help)
    │   ├── EngineUnavailableError nothing answers, or the runtime is not installed
    │   ├── OverloadedError        more work waits already than can be done in time
    │   ├── EngineTimeoutError     no answer in time
    │   ├── ServerStatusError      an HTTP status that may be another one later (429, 5xx)
    │   ├── RequestRefusedError    the server refuses the request itself (400, 413, 422)
    │   ├── EngineResponseError    an answer that is not what was asked for
    │   │   └── InvalidLogprobsError   log-probabilities that are no distribution
    │   ├── ContextOverflowError   the prompt is longer than the model's context
    │   ├── CanaryError            the start-up check failed: results could not be trusted
    │   └── ModelError             the model folder or file is not one
    ├── OutputError                results cannot be written (full disk, no permission)
    │   └── JournalError           the journal of a run is damaged, in use, or another run's
    │       └── JournalInUseError  another run writes it now
    ├── StoppedError               a signal stopped a run; what is done is kept
    └── ConfigError                options that contradict each other
        ├── ArgumentError          an argument that a method does not take
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
"""Control characters but tab and line feed; those that turn the direction of text around; halves
of surrogate pairs."""


def printable(text: str) -> str:
    """A text whose control characters are visible escapes.

    Row text stands in messages and logs. A terminal would run its escape sequences.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text; tabs and line feeds stay.

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
        How to fix it; empty when the message says it already.

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
    """The user's data cannot be used as it is."""


class MissingFileError(InputError):
    """A path that is not there, or is not a file."""


class EmptyInputError(InputError):
    """A file without a header, or without rows."""


class ColumnError(InputError):
    """A needed column is absent, doubled or ambiguous."""


class DecodingError(InputError):
    """Bytes that no supported encoding explains."""


class DuplicateIdError(InputError):
    """One id that names two rows."""


class UnknownLabelError(InputError):
    """A label that is not in the label space."""


class RowError(InputError):
    """One row that cannot be classified; becomes that row's ``failed`` status."""


class ConflictError(InputError):
    """What is to be changed was changed by somebody else meanwhile, or is done already."""


class NotFoundError(InputError):
    """There is nothing of this name or id."""


class TaskError(EcomfsError):
    """A task card that is wrong, or a task that does not exist."""


class TemplateError(TaskError):
    """A template that does not compile, or does not render."""


class PoolError(EcomfsError, ValueError):
    """Labelled examples that cannot be stored, or cannot serve as a pool."""


class DatabaseError(PoolError):
    """The database does not answer, is full or may not be written; nothing of the change is
    stored."""


class EngineError(EcomfsError):
    """A model could not be read."""


class EngineUnavailableError(EngineError):
    """Nothing answers at the address, or the runtime is not installed."""

    retryable = True


class OverloadedError(EngineError):
    """More work waits already than can be done in time.

    Attributes:
        seconds: until there is room again, as far as that is known.
    """

    retryable = True

    def __init__(self, message: str, *, hint: str = "", seconds: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


class EngineTimeoutError(EngineError):
    """No answer within the time-out."""

    retryable = True


class ServerStatusError(EngineError):
    """A server answered with an HTTP status that may be another one later.

    Attributes:
        seconds: pause that the server asks for; 0 when it names none.
        busy: the server has too much to do (429, 503); it did not fail.
    """

    retryable = True

    def __init__(
        self, message: str, *, hint: str = "", seconds: float = 0.0, busy: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds
        self.busy = busy


class RequestRefusedError(EngineError):
    """A server refuses the request itself (HTTP 400, 413, 422): repeating would not help."""


class EngineResponseError(EngineError):
    """An answer that is not what was asked for (wrong shape, missing log-probabilities)."""

    retryable = True


class InvalidLogprobsError(EngineResponseError):
    """Log-probabilities that are no distribution: NaN, infinite, or of more than one in sum."""

    retryable = False  # the same prompt overflows the same model again


class ContextOverflowError(EngineError):
    """A prompt longer than the model's context."""


class CanaryError(EngineError):
    """The start-up check failed: scoring now would give results that cannot be trusted."""


class ModelError(EngineError):
    """A path or name that is not a model this engine can load."""


class OutputError(EcomfsError):
    """Results cannot be written."""


class JournalError(OutputError):
    """The journal of a run cannot be used: damaged, in use, or of a run with other input, model,
    examples or options."""


class JournalInUseError(JournalError):
    """Another run that is alive writes the journal."""


class StoppedError(EcomfsError):
    """A signal asked a run to stop. What was in flight was waited for and is kept.

    Attributes:
        signal: its number.
    """

    def __init__(self, message: str, *, hint: str = "", signal: int = 2) -> None:
        super().__init__(message, hint=hint)
        self.signal = signal


class ConfigError(EcomfsError, ValueError):
    """Options that contradict each other."""


class ArgumentError(ConfigError, TypeError):
    """An argument that a method does not take."""


class NotFittedError(ConfigError, AttributeError):
    """Used before ``fit``. Where scikit-learn is loaded it is scikit-learn's error of that name
    too."""
