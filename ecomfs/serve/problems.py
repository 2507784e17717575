"""Errors as responses of type ``application/problem+json`` (RFC 9457) with a ``hint``, and as log
lines without data.

Input errors are described in full. For internal errors, the caller gets only the status, and the
log the location. The message of an exception is logged only if it cannot quote a row.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ecomfs.errors import (
    ConflictError,
    DatabaseError,
    DuplicateIdError,
    EcomfsError,
    EmptyInputError,
    EngineTimeoutError,
    EngineUnavailableError,
    InputError,
    NotFoundError,
    OutputError,
    OverloadedError,
    PoolError,
    UnknownLabelError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

_log = logging.getLogger(__name__)


def type_uri(error: type[EcomfsError]) -> str:
    """The problem type of an exception class; clients use it to find the class.

    >>> type_uri(InputError)
    'urn:ecomfs:error:input'
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", error.__name__.removesuffix("Error"))
    return f"urn:ecomfs:error:{words.lower()}"


def problem(
    status: int,
    detail: str,
    *,
    hint: str = "",
    kind: str = "about:blank",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """The response for one problem."""
    body = {
        "type": kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "hint": hint,
        **more,
    }
    return JSONResponse(
        body, status, media_type=MEDIA_TYPE, headers=dict(headers) if headers else None
    )


def install(app: FastAPI) -> None:
    """Turn every error of an application into a problem response."""
    app.exception_handler(EcomfsError)(_ecomfs)
    app.exception_handler(RequestValidationError)(_validation)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(Exception)(_internal)


_STATUS: tuple[tuple[type[EcomfsError], int], ...] = (
    (ConflictError, 409),
    (NotFoundError, 404),
    (DuplicateIdError, 409),
    (InputError, 422),
    (DatabaseError, 503),
    (PoolError, 422),
    (OutputError, 507),
    (OverloadedError, 429),
    (EngineTimeoutError, 504),
)
"""Error → status; the first match applies. Callers get the messages of these errors unchanged."""


def problem_of(error: EcomfsError) -> tuple[int, str, str]:
    """Status, message and hint of an error for the caller. Internal errors are logged, and get a
    general message.

    >>> problem_of(ConflictError("decided already", hint="undo it"))
    (409, 'decided already', 'undo it')
    """
    for kind, status in _STATUS:
        if not isinstance(error, kind):
            continue
        if kind is DatabaseError:  # its message may contain the server name
            _log.error("database: %s", loggable(error))
            unstored = "the database is not available now; nothing was stored"
            return status, unstored, error.hint
        return status, error.message, error.hint
    if isinstance(error, EngineUnavailableError):
        _log.error("engine unavailable: %s", loggable(error))
        gone = "the model of this service is not available now"
        return 503, gone, "try again after the time in Retry-After"
    _log.error("request failed: %s", loggable(error))
    return 500, "internal error of the service", "see the log of the service"


async def _ecomfs(request: Request, error: EcomfsError) -> JSONResponse:
    status, message, hint = problem_of(error)
    if status == 500:
        return internal()
    seconds = max(RETRY_AFTER_SECONDS, math.ceil(getattr(error, "seconds", 0.0)))
    later = {"Retry-After": str(seconds)} if status in (429, 503, 504) else None
    return problem(status, message, hint=hint, kind=type_uri(type(error)), headers=later)


async def _internal(request: Request, error: Exception) -> JSONResponse:
    return internal()


def internal() -> JSONResponse:
    """The response for an internal error."""
    return problem(500, "internal error of the service", hint="see the log of the service")


def stopping() -> JSONResponse:
    """The response to a request that is aborted because the service is stopping."""
    return problem(
        503,
        "the service is stopping",
        hint="try again after the time in Retry-After",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    detail, hint = str(error.detail), ""
    if error.status_code == 403:
        hint = "use a key that has this scope"
    if error.status_code in (404, 405):
        detail = f"there is no {request.method} {request.url.path}"
        hint = "see /docs for all requests, such as POST /v1/classify and GET /healthz"
    return problem(error.status_code, detail, hint=hint, headers=error.headers)


async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
    """The validation errors of a body, without its content."""
    found = error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        return problem(
            400,
            f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}",
            kind=type_uri(InputError),
        )
    errors = _merged(found)
    place, message = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(
        422,
        f"{place}: {message}{more}",
        hint="see /docs for the fields of each request",
        kind=type_uri(InputError),
        errors=[{"where": where, "message": text} for where, text in errors[:20]],
    )


def _merged(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(location, message) of each error; the branches of a union are joined."""
    out: dict[str, list[str]] = {}
    for error in found:
        out.setdefault(_place(error["loc"]), []).append(error["msg"])
    return [(place, " or ".join(dict.fromkeys(messages))) for place, messages in out.items()]


def _place(loc: Sequence[str | int]) -> str:
    """``("body", "rows", 3, "str")`` → ``rows[3]``: union branches are left out.

    >>> _place(("body", "rows", 3, "dict[str,json]")), _place(("body",))
    ('rows[3]', 'body')
    """
    parts = list(loc[1:] if loc[:1] == ("body",) else loc)
    out = ""
    for position, part in enumerate(parts):
        if isinstance(part, int):
            out += f"[{part}]"
            continue
        if position and isinstance(parts[position - 1], int):
            break
        out += f".{part}" if out else part
    return out or "body"


_FRAMES = 12
"""Number of innermost frames that are logged."""
_TOLD = (DatabaseError, EmptyInputError, PoolError, UnknownLabelError)
"""Errors whose messages name servers, pools and labels, but never the content of a row. Errors of
engines are not among them: they may quote the response of a server."""


def error_location(error: BaseException) -> str:
    """The types of an exception and its causes, and the locations of its frames, on one line.

    >>> try:
    ...     int("a row of a customer")
    ... except ValueError as error:
    ...     error_location(error)
    'ValueError at <doctest ecomfs.serve.problems.error_location[0]>:2 in <module>'
    """
    parts = []
    for cause in _causes(error):
        frames = traceback.extract_tb(cause.__traceback__)[-_FRAMES:]
        places = " > ".join(f"{f.filename}:{f.lineno} in {f.name}" for f in frames)
        parts.append(f"{type(cause).__name__}{' at ' if places else ''}{places}")
    return ", after ".join(parts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and its causes."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def loggable(error: BaseException) -> str:
    """The log text of an exception: its message if that cannot quote a row, else its
    :func:`error_location`.

    >>> loggable(UnknownLabelError("'postive' is no label")), loggable(KeyError("a row"))
    ("'postive' is no label", 'KeyError')
    """
    known = [cause for cause in _causes(error) if isinstance(cause, EcomfsError)]
    # The message may contain that of its cause.
    telling = isinstance(error, EcomfsError) and all(type(cause) in _TOLD for cause in known)
    if isinstance(error, EngineUnavailableError) and isinstance(error.__cause__, OSError):
        telling = True  # there was no response to quote
    return str(error) if telling else error_location(error)
