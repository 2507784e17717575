"""``--json``: the result of a verb as one JSON document on standard output.

Every verb has one shape of it (docs/cli.md)::

    {"ecomfs": version, "command": "score", "exit_code": 0, "result": {…}, "error": null}

A verb hands its result over with :func:`set_result`; what it prints for people on standard output
is left out, and what goes to standard error stays.
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
    """One command line: what it gave, and whether it is to be printed as JSON.

    Attributes:
        wanted: ``--json`` is among its words.
        command: the words of the verb; empty until it has begun.
        result: what the verb gave.
        error: why it ended.
        printed: the document is out.
        stdout: where it goes.
        arguments: the words of the command line.
    """

    wanted: bool
    command: str = ""
    result: Result | None = None
    error: dict[str, Any] | None = None
    printed: bool = False
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    arguments: tuple[str, ...] = ()

    def fail(self, error: BaseException) -> None:
        """Keep the error that the verb ended with."""
        own = error if isinstance(error, EcomfsError) else None
        said = getattr(error, "format_message", None)  # of an error of the command line's parser
        self.error = {
            "kind": type(error).__name__,
            "message": own.message if own else said() if said else str(error),
            "hint": (own.hint if own else "") or "",
            "notes": [*getattr(error, "__notes__", ())],
        }

    def print(self, exit_code: int) -> None:
        """Print the document, once, where it is wanted and there is anything to say: a help page
        or a version is no result."""
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
        # JSON has its own escapes for what a terminal would run.
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
    """The run of one command line; one inside another has its own."""
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
def beginning(command: str) -> Iterator[None]:
    """Around a verb: with ``--json`` its words for people stay away from standard output."""
    _now.command = command
    if not _now.wanted:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def set_result(result: Result | Callable[[], Result]) -> None:
    """The result of the verb, which ``--json`` prints when it ends.

    Args:
        result: its keys are those of docs/cli.md; a function, where making it is work.

    >>> with json_run(["tasks", "--json"]) as run, beginning("tasks"):
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
    """Whether the command line that runs has ``--json``."""
    return _now.wanted


def arguments() -> tuple[str, ...]:
    """The words of the command line that runs; none where a verb is called from Python."""
    return _now.arguments


def print_result() -> None:
    """Print the document now: a service has its result while it runs."""
    _now.print(0)
