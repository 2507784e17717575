"""``--json``: the result of a command as one JSON document on standard output.

The document has the same keys for every command (docs/cli.md)::

    {"ecomfs": version, "command": "score", "exit_code": 0, "result": {…}, "error": null}

A command sets its result with :func:`set_result`. Its other text on standard output is suppressed;
text on standard error is not.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TextIO

from ecomfs.errors import EcomfsError

Result = Mapping[str, Any]


@dataclass(slots=True)
class JsonRun:
    """One run of the command line, and its JSON document.

    Attributes:
        wanted: whether ``--json`` was given.
        command: name of the command; empty until it starts.
        result: the result of the command.
        error: the error that ended it.
        printed: whether the document was printed.
        stdout: the stream for the document.
        arguments: the arguments of the command line.
    """

    wanted: bool
    command: str = ""
    result: Result | None = None
    error: dict[str, Any] | None = None
    printed: bool = False
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    arguments: tuple[str, ...] = ()

    def fail(self, error: BaseException) -> None:
        """Record the error that ended the command."""
        own = error if isinstance(error, EcomfsError) else None
        said = getattr(error, "format_message", None)  # errors of the argument parser
        self.error = {
            "kind": type(error).__name__,
            "message": own.message if own else said() if said else str(error),
            "hint": (own.hint if own else "") or "",
            "notes": [*getattr(error, "__notes__", ())],
        }

    def print(self, exit_code: int) -> None:
        """Print the document once, if ``--json`` was given and there is a result or an error (a
        help page and a version are no results)."""
        if not self.wanted or self.printed or (not self.command and self.error is None):
            return
        from ecomfs import __version__
        from ecomfs.core.json import plain

        self.printed = True
        document = {
            "ecomfs": __version__,
            "command": self.command,
            "exit_code": exit_code,
            "result": plain(self.result, fallback=_fields_or_text),
            "error": self.error,
        }
        text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
        # JSON escapes control characters itself.
        safe = _CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text)
        print(safe, file=self.stdout, flush=True)


def _fields_or_text(value: Any) -> Any:
    from ecomfs.core.json import plain

    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: getattr(value, f.name) for f in fields(value)}
        return plain(named, fallback=_fields_or_text)
    return str(value)


_CONTROL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_now = JsonRun(wanted=False)


@contextlib.contextmanager
def json_run(arguments: Sequence[str]) -> Iterator[JsonRun]:
    """A context with the run of one command line; a nested run has its own."""
    global _now
    outer = _now
    words = list(arguments)
    known = words[: words.index("--")] if "--" in words else words
    _now = JsonRun(wanted="--json" in known, arguments=tuple(words))
    try:
        yield _now
    finally:
        _now = outer


@contextlib.contextmanager
def command_context(command: str) -> Iterator[None]:
    """Context of a command: with ``--json``, its text output does not go to standard output."""
    _now.command = command
    if not _now.wanted:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def set_result(result: Result | Callable[[], Result]) -> None:
    """Set the result of the command; ``--json`` prints it at the end.

    Args:
        result: a mapping with the keys of docs/cli.md, or a function that makes it.

    >>> with json_run(["tasks", "--json"]) as run, command_context("tasks"):
    ...     print("a table")
    ...     set_result({"tasks": []})
    >>> run.print(0)  # doctest: +ELLIPSIS
    {
      "ecomfs": ...,
      "command": "tasks",
      "exit_code": 0,
      "result": {
        "tasks": []
      },
      "error": null
    }
    """
    if _now.wanted:
        _now.result = result() if callable(result) else result


def wants_json() -> bool:
    """Whether the current command line has ``--json``."""
    return _now.wanted


def arguments() -> tuple[str, ...]:
    """The arguments of the current command line; empty if a command is called from Python."""
    return _now.arguments


def print_result() -> None:
    """Print the document now; for services, whose result exists while they run."""
    _now.print(0)
