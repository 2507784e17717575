"""What every verb of the command line has in common: ``--json``, ``--quiet``, ``--help-all``, two
examples in its help; and ``--safe-csv`` and ``--input-safe-csv`` of all that write or read
tables."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import Parameter
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from ecomfs.cli import options as o
from ecomfs.cli import progress
from ecomfs.cli.help_examples import EXAMPLES
from ecomfs.cli.json_result import beginning

_COMMON: dict[str, Any] = {"as_json": o.AsJson, "quiet": o.Quiet, "help_all": o.HelpAll}
_WRITE_TABLES = {
    *("score", "plan", "rank", "suggest", "examples export", "prepare clean", "prepare augment"),
}


class Verb(TyperCommand):
    """A command whose help ends with two examples, and says how many options it does not show."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Print the help."""
        super().format_help(ctx, formatter)
        _after_help(self, ctx)


class Verbs(TyperGroup):
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


def add_habits(app: typer.Typer, *names: str) -> None:
    """Give every verb of an app, and of the apps in it, what all verbs have."""
    for info in app.registered_commands:
        verb = info.callback
        if verb is None:  # Typer allows a command without a function
            continue
        name = info.name or verb.__name__.replace("_", "-")
        info.callback = _with_habits(verb, " ".join([*names, name]))
        info.cls = Verb
    root = app.registered_callback
    if names and root is not None and root.callback is not None and root.invoke_without_command:
        root.callback = _with_habits(root.callback, " ".join(names))
    for group in app.registered_groups:
        group.cls = Verbs
        if group.typer_instance is not None:
            add_habits(group.typer_instance, *names, str(group.name))


def _with_habits(verb: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The verb with the options that every verb has, as far as it does not have them itself."""
    hints = get_type_hints(verb, include_extras=True)
    own = inspect.signature(verb).parameters
    given = {key: hint for key, hint in _COMMON.items() if key not in own}
    if name in _WRITE_TABLES:
        given["safe_csv"] = o.SafeCsv
    if "input_encoding" in own:
        given["input_safe_csv"] = o.InputSafeCsv
    parameters = [p.replace(annotation=hints.get(p.name, Any)) for p in own.values()]
    parameters += [
        Parameter(key, Parameter.KEYWORD_ONLY, default=False, annotation=hint)
        for key, hint in given.items()
    ]

    @functools.wraps(verb)
    def running(**values: Any) -> Any:
        progress.be_quiet(quiet=bool(values.get("quiet")))
        more = {key: values.pop(key, None) for key in given}
        context = next((v for v in values.values() if isinstance(v, typer.Context)), None)
        if context is not None and context.invoked_subcommand is not None:
            return verb(**values)
        marks = {"written": more.get("safe_csv"), "read": more.get("input_safe_csv")}
        with beginning(name), _marks(**marks) if any(marks.values()) else nullcontext():
            return verb(**values)

    running.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    running.__annotations__ = {p.name: p.annotation for p in parameters}
    return running


def _marks(written: bool | None, read: bool | None) -> AbstractContextManager[None]:
    from ecomfs.io import safe_csv  # it loads what reads tables

    return safe_csv(written=bool(written), read=bool(read))
