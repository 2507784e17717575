"""The command line. Modules are imported only when a command needs them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from ecomfs.cli import (
    ab,
    augment,
    demo,
    engines,
    examples,
    explain,
    fit,
    init,
    plan,
    prepare,
    rank,
    runs,
    score,
    serve,
    suggest,
    tasks,
    terminal,
)
from ecomfs.cli import eval as eval_
from ecomfs.cli.common import CommandGroup, add_common_options, with_checks
from ecomfs.cli.json_result import JsonRun, json_run
from ecomfs.cli.terminal import PrintableFormatter, say
from ecomfs.core.progress import LOADED_AT
from ecomfs.errors import EcomfsError, printable

app = typer.Typer(
    name="ecomfs",
    help="Few-shot classification for e-commerce with an open model and no fine-tuning.",
    cls=CommandGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in rich mode, [id] would be parsed as a style and disappear
)

_PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Begin here": {
        "demo": demo.demo,
        "init": init.init,
        "tasks": tasks.tasks,
        "models": engines.app,
    },
    "Answer rows": {
        "score": score.score,
        "plan": plan.plan,
        "explain": explain.explain,
        "rank": rank.rank,
        "serve": serve.serve,
        "key": serve.key,
        "backup": serve.backup,
        "restore": serve.restore,
        "runs": runs.app,
    },
    "How good, and how sure": {"fit": fit.fit, "ab": ab.ab, "eval": eval_.app},
    "Labelled examples": {
        "suggest": suggest.suggest,
        "examples": examples.app,
        "prepare": prepare.app,
    },
    "Tasks of your own": {"new-task": tasks.new_task, "lint-task": tasks.lint_task},
    "Engines": {"check": engines.check, "up": engines.up},
}
prepare.app.command("augment")(augment.augment)
for _panel, _commands in _PANELS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, rich_help_panel=_panel)(_command)
add_common_options(app)

EXIT_CODES = {
    0: "done; rows that failed are in the result, with the reason",
    1: "a check failed: lint-task, check, eval run",
    2: "an error in the command line, the input or the engine: one line on standard error",
    130: "stopped by Ctrl-C; score keeps the finished rows",
    141: "the program that reads the output has ended (broken pipe)",
    143: "stopped by SIGTERM; score keeps the finished rows",
}
"""Exit code → meaning, for all commands (docs/cli.md)."""


def _show_version(value: bool) -> None:
    if value:
        from ecomfs import __version__

        say(f"ecomfs {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="the version, and exit"
        ),
    ] = False,
) -> None:
    """Few-shot classification for e-commerce with an open model and no fine-tuning."""


def run(arguments: Sequence[str], *, began: float | None = None) -> int:
    """Run one command line and return its exit code (see :data:`EXIT_CODES`).

    Args:
        arguments: the arguments after ``ecomfs``.
        began: start of the command, by ``time.monotonic``; ``None``: now.
    """
    _show_all_characters()
    terminal.begin(began)
    with json_run(arguments) as outcome:
        code = _run(arguments, outcome)
        outcome.print(code)
    return code


def _run(arguments: Sequence[str], outcome: JsonRun) -> int:
    try:
        try:
            with _notes():
                _parse_and_run(arguments, outcome)
        finally:
            terminal.clear()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except EcomfsError as error:
        outcome.fail(error)
        say(f"error: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            say(f"note: {note}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    return 0


def _parse_and_run(arguments: Sequence[str], outcome: JsonRun) -> None:
    command = with_checks(app)
    options: dict[str, Any] = {"prog_name": "ecomfs", "obj": list(arguments)}
    try:
        code = command(list(arguments), **options, standalone_mode=False)
    except Exception as caught:
        error: Any = caught
        # Typer has no public name for the errors of its parser.
        if not hasattr(error, "format_message"):
            raise
        from typer.rich_utils import rich_format_error

        outcome.fail(error)
        said = printable(error.format_message())  # it quotes arguments of the command line
        error.format_message = lambda: said
        rich_format_error(error)
        raise SystemExit(2) from caught
    raise SystemExit(code if isinstance(code, int) else 0)


def _show_all_characters() -> None:
    """Replace characters that an output stream cannot encode (Windows consoles, ASCII pipes): a
    message must not end a run with an error after all its work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Print notes about input files on standard error."""
    log, handler = logging.getLogger("ecomfs.io.files"), _Notes()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def main() -> None:
    """Entry point of the ``ecomfs`` command."""
    # Also for other libraries; messages may quote rows, so they are printed as plain text.
    warnings.formatwarning = lambda message, *_, **__: f"warning: {printable(str(message))}\n"
    if logging.lastResort is not None:  # handles warnings of loggers without a handler
        logging.lastResort.setFormatter(PrintableFormatter())
    code = run(sys.argv[1:], began=LOADED_AT)
    shared = sys.modules.get("ecomfs.engine.shared")  # loaded only when an engine was used
    if shared is not None and code != 130:
        shared.close_shared()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # Native model runtimes own threads that do not end by themselves.
    os._exit(code)
