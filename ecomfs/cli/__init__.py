"""The command line: one file a verb, nothing imported before it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from ecomfs.cli import ab, check, demo, models, score, serve, tasks, up
from ecomfs.errors import EcomfsError

app = typer.Typer(
    name="ecomfs",
    help="Few-shot classification for e-commerce with an open model and no fine-tuning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_VERBS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("score", score.score),
    ("ab", ab.ab),
    ("serve", serve.serve),
    ("up", up.up),
    ("check", check.check),
    ("tasks", tasks.tasks),
    ("models", models.models),
    ("demo", demo.demo),
)
for _name, _verb in _VERBS:
    app.command(_name)(_verb)


def main() -> None:
    """Entry point of the ``ecomfs`` command. Expected errors are one line on standard error and
    exit code 2; Ctrl-C is exit code 130."""
    try:
        app()
    except EcomfsError as error:
        print(f"error: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"note: {note}", file=sys.stderr)
        _exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _exit(130)
    except BrokenPipeError:
        _exit(141)


def _exit(code: int) -> None:
    sys.stdout.flush() if not sys.stdout.closed else None
    # Native model runtimes own threads that do not end by themselves after an error.
    os._exit(code)
