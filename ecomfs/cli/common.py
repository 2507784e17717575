"""Options and checks that all commands share.

Every command has ``--json``, ``--quiet``, ``--help-all``, and two examples in its help. Commands
that write or read tables also have ``--safe-csv`` and ``--input-safe-csv``. All options are
checked: an output must not be a file that the command reads, ``-`` is standard output, and an empty
value is an error unless the option allows it.
"""

from __future__ import annotations

import functools
import glob
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from inspect import Parameter
from pathlib import Path
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from ecomfs.cli import options as o
from ecomfs.cli import terminal
from ecomfs.cli.help_examples import EXAMPLES
from ecomfs.cli.json_result import command_context

_COMMON: dict[str, Any] = {"quiet": o.Quiet, "as_json": o.AsJson, "help_all": o.HelpAll}
_WRITE_TABLES = {
    *("score", "plan", "rank", "suggest", "examples export", "prepare clean", "prepare augment")
}


class Command(TyperCommand):
    """A command whose help ends with two examples and the number of hidden options."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Print the help."""
        super().format_help(ctx, formatter)
        _after_help(self, ctx)


class CommandGroup(TyperGroup):
    """A group of commands whose help ends with two examples."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Print the help."""
        super().format_help(ctx, formatter)
        _after_help(self, ctx)


def _after_help(command: Any, ctx: typer.Context) -> None:
    from ecomfs.cli.present import plain

    words = ctx.command_path.split()[1:]
    examples = EXAMPLES.get(" ".join(words), ())
    lines = [" Examples", *(f"   {line}" for line in examples)] if examples else []
    if folded := sum(getattr(p, "hidden", False) for p in command.params):
        lines += ["", f" {folded} more options: {' '.join(['ecomfs', *words])} --help-all"]
    if lines:
        plain("\n".join([*lines, ""]))


def add_common_options(app: typer.Typer, *names: str) -> None:
    """Add the common options to every command of an app and of its nested apps."""
    for info in app.registered_commands:
        command = info.callback
        if command is None:  # Typer allows a command without a function
            continue
        name = info.name or command.__name__.replace("_", "-")
        info.callback = _with_common_options(command, " ".join([*names, name]))
        info.cls = Command
    root = app.registered_callback
    if names and root is not None and root.callback is not None and root.invoke_without_command:
        root.callback = _with_common_options(root.callback, " ".join(names))
    for group in app.registered_groups:
        group.cls = CommandGroup
        if group.typer_instance is not None:
            add_common_options(group.typer_instance, *names, str(group.name))


def _with_common_options(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The command with the common options."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    given = {**_COMMON}
    if name in _WRITE_TABLES:
        given["safe_csv"] = o.SafeCsv
    if "input_encoding" in own:
        given["input_safe_csv"] = o.InputSafeCsv
    parameters = [p.replace(annotation=hints.get(p.name, Any)) for p in own.values()]
    parameters += [
        Parameter(key, Parameter.KEYWORD_ONLY, default=False, annotation=hint)
        for key, hint in given.items()
    ]

    @functools.wraps(command)
    def running(**values: Any) -> Any:
        more = {key: values.pop(key, None) for key in given}
        before = terminal.is_quiet()
        terminal.be_quiet(quiet=bool(more["quiet"]))
        context = next((v for v in values.values() if isinstance(v, typer.Context)), None)
        if context is not None and context.invoked_subcommand is not None:
            return command(**values)
        marks = {"written": more.get("safe_csv"), "read": more.get("input_safe_csv")}
        try:
            with command_context(name), _marks(**marks) if any(marks.values()) else nullcontext():
                return command(**values)
        finally:  # restore it for a calling command, and for later ones in this process
            terminal.be_quiet(quiet=before)

    return o.with_parameters(running, parameters)


def _marks(written: bool | None, read: bool | None) -> AbstractContextManager[None]:
    from ecomfs.io import safe_csv  # it loads what reads tables

    return safe_csv(written=bool(written), read=bool(read))


_OUTPUTS = {"output", "report", "log"}
"""Parameters of all commands that name an output. Further outputs whose names derive from these
(tables of removed or rejected rows) are checked by their commands."""
_MAY_BE_EMPTY = {
    *("hierarchy", "id_column", "label", "label_separator", "note", "prefix", "row", "text"),
    "values",
}
"""Parameters of all commands that may be an empty string."""


def with_checks(app: typer.Typer) -> Any:
    """The command line with the checks of options added to every command."""
    command = typer.main.get_command(app)
    _add_checks(command)
    return command


def _add_checks(command: Any) -> None:
    for subcommand in getattr(command, "commands", {}).values():
        _add_checks(subcommand)
    for parameter in command.params:
        if parameter.name not in _MAY_BE_EMPTY:
            _refuse_empty(parameter)
    if any(p.name in _OUTPUTS for p in command.params):
        inner = command.invoke

        def invoking(context: typer.Context) -> Any:
            with ExitStack() as stack:
                _enter(stack, context)
                return inner(context)

        command.invoke = invoking


def _refuse_empty(parameter: Any) -> None:
    """Refuse an empty value before ``Path("")`` becomes the current folder."""
    inner = parameter.process_value

    def processing(context: typer.Context, value: Any) -> Any:
        from ecomfs.errors import ConfigError

        if value == "" or (isinstance(value, list | tuple) and "" in value):
            raise ConfigError(
                f"{_option(parameter)} is empty", hint="give it a value, or leave it out"
            )
        return inner(context, value)

    parameter.process_value = processing


def _enter(stack: ExitStack, context: typer.Context) -> None:
    from ecomfs.errors import ConfigError
    from ecomfs.io import InputFile, check_read, check_target, is_standard, reading, standard_output

    given = {
        str(p.name): (_option(p), context.params.get(str(p.name))) for p in context.command.params
    }
    writes = [
        (option, Path(value))
        for name, (option, value) in given.items()
        # A table of a database (sql:…) is no file.
        if name in _OUTPUTS and value is not None and not str(value).startswith("sql:")
    ]
    reads = [
        InputFile(option, path)
        for name, (option, value) in given.items()
        if name not in _OUTPUTS
        for path in _files(value)
    ]
    # Loading a task imports NumPy, so do it only if an output may be one of the task's files.
    if "task" in given and any(_in_a_task(path) for _, path in writes):
        option, value = given["task"]
        reads += [InputFile(option, path) for path in _of_task(str(value))]
    stack.enter_context(reading(reads))
    standard = [option for option, path in writes if is_standard(path)]
    if len(standard) > 1:
        raise ConfigError(
            f"{standard[0]} and {standard[1]} are both standard output", hint="name a file"
        )
    if standard and context.params.get("as_json"):
        raise ConfigError(f"{standard[0]} and --json are both standard output", hint="name a file")
    if standard:
        stack.enter_context(standard_output())
    for number, (option, path) in enumerate(writes):
        if path.is_dir():
            for file in ("report.html", "report.md", "report.json"):
                check_target(path / file, option)
            continue
        check_target(path, option)
        others = [InputFile(other, its) for other, its in writes[:number] if not is_standard(its)]
        with reading(others):
            check_read(path, option)


def _option(parameter: Any) -> str:
    """The option as written on the command line."""
    named = [text for text in parameter.opts if text.startswith("-")]
    shown = parameter.metavar or str(parameter.name)
    return min(named, key=len) if "-o" in named else max(named, key=len, default=shown)


def _files(value: Any) -> Iterator[Path]:
    """The files that the value of an option names: a path, a pattern, a URL of SQLite, a model as
    in ``gguf:FILE``, a pair as in ``NAME=FILE``."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _files(part)
        return
    if not isinstance(value, str | Path) or not str(value):
        return
    text = str(value)
    ends = {text, text.partition("#")[0], text.rpartition("=")[2], text.partition(":")[2]}
    if text.startswith("sqlite"):
        ends.add(text.partition("///")[2].partition("?")[0])
    if glob.has_magic(text):
        ends.update(glob.glob(text, recursive=True))
    yield from (path for path in map(Path, ends - {""}) if _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _in_a_task(path: Path) -> bool:
    try:
        return any(_is_file(p.parent / "task.yaml") for p in (path, path.resolve()))
    except (OSError, ValueError, RuntimeError):
        return False


def _of_task(name: str) -> Iterator[Path]:
    from ecomfs.errors import EcomfsError
    from ecomfs.task import task_folder

    try:
        folder = task_folder(name)
    except EcomfsError:
        return  # the command raises it
    yield from filter(_is_file, folder.glob("*.*"))
