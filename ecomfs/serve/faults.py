"""Faults in logs: where they happened, and no data. The message of an exception may quote a row."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from ecomfs.errors import (
    DatabaseError,
    EcomfsError,
    EmptyInputError,
    EngineUnavailableError,
    PoolError,
    UnknownLabelError,
)

_FRAMES = 12
"""Innermost frames that are logged."""
_TOLD = (DatabaseError, EmptyInputError, PoolError, UnknownLabelError)
"""Errors whose messages name servers, pools and labels, but never the content of a row. Those of
engines do not count: they may quote what a server answered."""


def fault(error: BaseException) -> str:
    """The types of an exception and its causes, and the places of its frames.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    str
        One line, without the messages: they may quote a row.

    Examples
    --------
    >>> try:
    ...     int("a row of a customer")
    ... except ValueError as error:
    ...     fault(error)
    'ValueError at <doctest ecomfs.serve.faults.fault[0]>:2 in <module>'
    """
    parts = []
    for cause in _causes(error):
        frames = traceback.extract_tb(cause.__traceback__)[-_FRAMES:]
        places = " > ".join(f"{f.filename}:{f.lineno} in {f.name}" for f in frames)
        parts.append(f"{type(cause).__name__}{' at ' if places else ''}{places}")
    return ", after ".join(parts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def loggable(error: BaseException) -> str:
    """What a log says of an exception.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    str
        The message where it cannot quote a row, else :func:`fault`.

    Examples
    --------
    >>> loggable(UnknownLabelError("'postive' is no label")), loggable(KeyError("a row"))
    ("'postive' is no label", 'KeyError')
    """
    known = [cause for cause in _causes(error) if isinstance(cause, EcomfsError)]
    # A message may be that of its cause.
    telling = isinstance(error, EcomfsError) and all(type(cause) in _TOLD for cause in known)
    if isinstance(error, EngineUnavailableError) and isinstance(error.__cause__, OSError):
        telling = True  # there was no answer that it could quote
    return str(error) if telling else fault(error)
