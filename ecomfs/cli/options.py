"""Options of the command line: classifier options from :mod:`ecomfs.core.options`, and others that
several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from ecomfs.cli.terminal import say
from ecomfs.core.options import CHOOSING, FITTING, GUARANTEES, OPTIONS, READING, options_of

FIRST = "Options"  # the first panel of --help
POOL_NAME = "default"


class Settings(dict[str, Any]):
    """Options of the classifier by name; missing ones have their defaults.

    >>> Settings(k=4)["k"], Settings(k=4)["passes"]
    (4, 1)
    """

    def __missing__(self, name: str) -> Any:
        return OPTIONS[name].default

    @property
    def guarantees(self) -> list[str]:
        """The guarantees that are set, as command-line options."""
        named = options_of(groups=[GUARANTEES])
        return [option.cli for option in named if self[option.name] is not None]


def from_table(name: str, **more: Any) -> Any:
    """The command-line option for an option of the table."""
    option = OPTIONS[name]
    return typer.Option(
        f"{option.cli}/--no-{name}" if option.kind is bool else option.cli,
        help=option.text,
        envvar=option.env or None,
        hidden=option.advanced,
        autocompletion=(lambda: list(option.choices)) if option.choices else None,
        **more,
    )


@dataclass(frozen=True)
class Group:
    """The options of the table that a command has: some groups of it, with exceptions, and with
    defaults of the command."""

    groups: tuple[str, ...]
    without: tuple[str, ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()

    def parameters(self) -> Iterator[Parameter]:
        """One parameter per option, in the order of the table."""
        for o in options_of(groups=self.groups):
            if o.name not in self.without:
                kind: Any = o.kind | None if o.default is None else o.kind
                hint: Any = Annotated[kind, from_table(o.name, rich_help_panel=o.group)]
                yield _keyword(o.name, dict(self.defaults).get(o.name, o.default), hint)

    def __call__(self, **values: Any) -> Settings:
        """The values of the options; an invalid value is a ConfigError."""
        for name, value in values.items():
            OPTIONS[name].check(value, OPTIONS[name].cli)
        return Settings(values)


def _keyword(name: str, default: Any, hint: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)


Fitting = Annotated[Settings, Group((READING, FITTING), without=("cascade",))]
Answering = Annotated[Settings, Group((READING, FITTING, GUARANTEES))]
Comparing = Annotated[Settings, Group((READING, FITTING), without=("template",))]
Choosing = Annotated[
    Settings, Group((READING, FITTING, CHOOSING, GUARANTEES), ("profile",), (("tune", 192),))
]
EngineOption = Annotated[str, from_table("engine")]
EmbedderOption = Annotated[str, from_table("embedder")]
Fields = Annotated[list[str] | None, from_table("fields")]
Seed = Annotated[int, from_table("seed")]


def _tasks() -> list[str]:
    from ecomfs.task import available_tasks

    return [*available_tasks()]


Task = Annotated[
    str,
    typer.Option(
        "--task",
        "-t",
        help="task name or folder (ecomfs tasks)",
        rich_help_panel=FIRST,
        autocompletion=_tasks,
    ),
]
_EXAMPLES = typer.Option(
    "--examples",
    "-e",
    rich_help_panel=FIRST,
    help="labelled examples: a table (repeatable: several are joined), or a pool: FILE.db, "
    "sqlite:///FILE, postgresql://… [zero-shot, if the command allows it]",
)
ExamplesOption = Annotated[list[str], _EXAMPLES]
MaybeExamplesOption = Annotated[list[str] | None, _EXAMPLES]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="print the result as one JSON document (docs/cli.md)", rich_help_panel=FIRST
    ),
]
PoolName = Annotated[
    str, typer.Option("--pool-name", hidden=True, help="the pool's name in its database")
]
LabelColumn = Annotated[
    str | None, typer.Option(help="column that holds the label [by the task's names]")
]
IdColumn = Annotated[str | None, typer.Option(help="column with unique ids [id]")]
GoldColumn = Annotated[str | None, typer.Option(help="column with true labels: prints metrics")]
ShotsOption = Annotated[
    int | None,
    typer.Option(min=1, help="use a seeded sample of this many examples, spread over the labels"),
]
Synthetic = Annotated[
    bool,
    typer.Option(
        "--synthetic/--no-synthetic",
        hidden=True,
        help="use synthetic examples (prepare augment) too",
    ),
]


def known_encoding(name: str | None) -> str | None:
    """Check that an encoding exists, and return its name."""
    if name is not None:
        from ecomfs.io import encoding_named

        encoding_named(name)
    return name


InputEncoding = Annotated[
    str | None,
    typer.Option(
        callback=known_encoding,
        hidden=True,
        help="encoding of tables that are not UTF-8: cp1252, gbk, big5, shift_jis … [detected]",
    ),
]
SafeCsv = Annotated[
    bool,
    typer.Option(
        "--safe-csv",
        hidden=True,
        help="an apostrophe before every cell of the written CSV or TSV that a spreadsheet would "
        "run (= + - @); without it, only in the columns that ecomfs adds",
    ),
]
InputSafeCsv = Annotated[
    bool,
    typer.Option(
        "--input-safe-csv",
        hidden=True,
        help="the tables were written with --safe-csv: remove its apostrophes",
    ),
]
Limit = Annotated[int | None, typer.Option(help="only the first rows")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="no progress bar", rich_help_panel=FIRST)
]


def _show_all(context: typer.Context, value: bool) -> None:
    if value:
        for parameter in context.command.params:
            if hasattr(parameter, "hidden"):
                parameter.hidden = False
        say(context.get_help(), end="")
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        help="show this message with all options, and exit",
        is_eager=True,
        callback=_show_all,
        rich_help_panel=FIRST,
    ),
]
Slices = Annotated[
    list[str] | None, typer.Option("--slice", help="column to compare by (repeatable)")
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report", help="folder for report.html, .md and .json, and the drawings as SVG and PNG"
    ),
]
ReportLanguage = Annotated[str, typer.Option(help="language of the report: en or zh")]


def flatten_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each group parameter of a command by the options of the group.

    A group is a frozen dataclass whose fields are annotated like Typer parameters; its ``PANEL`` is
    their heading in ``--help``. Or it is :class:`Settings` with a :class:`Group`.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     width: int
    ...     height: int = 1
    >>> @flatten_options
    ... def area(size: Size, unit: str = "cm²") -> None:
    ...     print(size.width * size.height, unit)
    >>> area(width=3, height=2)
    6 cm²
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    parameters: list[Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        make: Any = hints[name]
        make = next((part for part in get_args(make) if isinstance(part, Group)), make)
        if isinstance(make, Group):
            own = [*make.parameters()]
        elif is_dataclass(hints[name]):
            own = _parameters(make)
        else:
            parameters.append(_keyword(name, parameter.default, make))
            continue
        groups[name] = make, [member.name for member in own]
        parameters += own
    signature = inspect.Signature(parameters)

    @functools.wraps(command)
    def collecting(**given: Any) -> None:
        bound = signature.bind(**given)
        bound.apply_defaults()
        values = dict(bound.arguments)
        for name, (make, members) in groups.items():
            values[name] = make(**{member: values.pop(member) for member in members})
        command(**values)

    return with_parameters(collecting, parameters)


def with_parameters(command: Callable[..., Any], parameters: list[Parameter]) -> Callable[..., Any]:
    """The command with the signature that Typer reads."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


@functools.cache  # many commands have the same groups; this makes each start faster
def _parameters(group: Any) -> list[Parameter]:
    """The parameters of a group class; options without a heading get the group's."""
    hints = get_type_hints(group, include_extras=True)
    out = []
    for field in fields(group):
        hint = hints[field.name]
        extras = [copy(info) for info in getattr(hint, "__metadata__", ())]
        for info in extras:
            if isinstance(info, OptionInfo):
                info.rich_help_panel = info.rich_help_panel or getattr(group, "PANEL", None)
        default = Parameter.empty if field.default is MISSING else field.default
        kind = Annotated[(hint.__origin__, *extras)] if extras else hint
        out.append(_keyword(field.name, default, kind))
    return out
