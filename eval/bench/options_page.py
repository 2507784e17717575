"""Writes docs/options.md from the table of options and the command line.

python eval/bench/options_page.py            # write the page
python eval/bench/options_page.py --check    # exit 1 if it is not up to date
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from generated import write_or_check

from ecomfs.cli import app
from ecomfs.core.options import (
    GROUPS,
    OPTIONS,
    SHARED,
    CommonOptions,
    FewShotOptions,
    TaxonomyOptions,
    options_of,
)

COMMON = {"help", "help_all", "as_json", "quiet"}
"""Options that every command has."""
CLASSIFIERS = {"F": FewShotOptions, "M": CommonOptions, "T": TaxonomyOptions}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "options.md"
HEAD = """# Options

Made by `make options` from `ecomfs/core/options.py` and the command line; a test checks that it
is up to date.

## Options of the classifiers

An option has one name: the parameter of the constructors in Python, the key in a suite's
`options` and in `ecomfs ab --variant "name: key=value"`, and, with dashes, the option of the
command line. F, M and T are `FewShotClassifier`, `MultiLabelClassifier` and `TaxonomyClassifier`.
Suites and variants take the options of F, except `{shared}`, which their variants share. In
Python, `engine` and `embedder` may also be open objects, `template` a path or one template per
language, and `profile` a path or a `Profile`. A command with another default than the rest has it
in parentheses. `--help` leaves an option with a + to `--help-all`.
"""


def commands(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(names), command
        return
    for name, each in inner.items():
        yield from commands(each, *names, name)


def cell(text: Any) -> str:
    """Text for a cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def code(value: Any) -> str:
    """A default as code; nothing for ``None``."""
    return "" if value is None else f"`{value!r}`" if isinstance(value, str) else f"`{value}`"


def row(*cells: str) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def of_classifiers(verbs: list[tuple[str, Any]]) -> Iterator[str]:
    """The table of options, group by group."""
    for group in GROUPS:
        yield f"\n### {group}\n"
        yield row("Option", "Value", "Default", "Meaning", "Of", "Commands")
        yield row(*["---"] * 6)
        for o in OPTIONS.values():
            if o.group != group:
                continue
            having = [
                f"`{name}`" + ("" if p.default in (o.default, None) else f" ({code(p.default)})")
                for name, verb in verbs
                for p in verb.params
                if o.cli and o.cli in p.opts
            ]
            letters = "".join(name for name, kind in CLASSIFIERS.items() if o in options_of(kind))
            odd = f" (`{o.cli}`)" if o.cli and o.cli != f"--{o.name.replace('_', '-')}" else ""
            default = f"{o.unset}" if o.unset else code(o.default)
            meaning, verbs_of = cell(o.help), ", ".join(having)
            more = " +" if o.advanced and having else ""
            yield row(
                f"`{o.name}`{odd}{more}", o.allowed, cell(default), meaning, letters, verbs_of
            )


def of_commands(verbs: list[tuple[str, Any]]) -> Iterator[str]:
    """The further options of each command."""
    known = {o.cli for o in OPTIONS.values()}
    yield "\n## Further options of the commands\n"
    yield "Defaults that the command finds itself are in brackets. Every command also has `--json`,"
    yield "`--quiet` (`-q`), `--help` (`-h`) and `--help-all`: [cli.md](cli.md).\n"
    for name, verb in verbs:
        options = [
            p
            for p in verb.params
            if p.param_type_name == "option" and p.name not in COMMON and not known & set(p.opts)
        ]
        if not options:
            continue
        yield f"\n### `ecomfs {name}`\n"
        yield row("Option", "Default", "Meaning")
        yield row("---", "---", "---")
        for p in options:
            flags = ", ".join(f"`{flag}`" for flag in [*p.opts, *p.secondary_opts])
            flags += " +" if p.hidden else ""
            plain = p.default is not False and not callable(p.default)
            default = p.default.as_posix() if isinstance(p.default, Path) else p.default
            yield row(flags, code(default) if plain else "", cell(p.help))


def page() -> str:
    """The whole page."""
    verbs = [*commands(typer.main.get_command(app))]
    head = HEAD.format(shared="`, `".join(SHARED))
    return "\n".join([head.rstrip(), *of_classifiers(verbs), *of_commands(verbs)]) + "\n"


if __name__ == "__main__":
    write_or_check(PAGE, page(), "make options")
