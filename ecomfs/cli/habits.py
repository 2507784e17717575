"""What every verb of the command line has in common: ``--json``, ``--quiet``, ``--help-all``, and
two examples in its help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from ecomfs.cli import options as o
from ecomfs.cli import progress
from ecomfs.cli.help_examples import EXAMPLES
from ecomfs.cli.json_result import beginning

_COMMON: dict[str, Any] = {"as_json": o.AsJson, "quiet": o.Quiet, "help_all": o.HelpAll}


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
    parameters = [p.replace(annotation=hints.get(p.name, Any)) for p in own.values()]
    parameters += [
        Parameter(key, Parameter.KEYWORD_ONLY, default=False, annotation=hint)
        for key, hint in given.items()
    ]

    @functools.wraps(verb)
    def running(**values: Any) -> Any:
        progress.be_quiet(quiet=bool(values.get("quiet")))
        for key in given:
            values.pop(key, None)
        context = next((v for v in values.values() if isinstance(v, typer.Context)), None)
        if context is not None and context.invoked_subcommand is not None:
            return verb(**values)
        with beginning(name):
            return verb(**values)

    running.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    running.__annotations__ = {p.name: p.annotation for p in parameters}
    return running
