"""``ecomfs runs``: list, compare and resume scoring runs."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say

if TYPE_CHECKING:
    from ecomfs.batch import Run

app = typer.Typer(no_args_is_help=True, help="List, inspect, compare and resume scoring runs.")

Id = Annotated[str, typer.Argument(metavar="ID", help="id of the run, a prefix of it, or last")]


@app.command("list")
def list_(
    most: Annotated[int, typer.Option("--last", min=1, help="most runs to list, newest last")] = 20,
) -> None:
    """List the runs of this user, oldest first."""
    from rich.table import Column

    from ecomfs.batch import list_runs
    from ecomfs.cli.present import show_table

    widths = {"run": 20, "state": 8, "rows": 7, "read": 7, "rows/s": 6}
    columns = [Column(name, no_wrap=True, min_width=width) for name, width in widths.items()]
    columns += [Column("command", no_wrap=True, overflow="ellipsis", ratio=1)]
    runs = list_runs()[-most:]
    set_result({"runs": [_plain(run) for run in runs]})
    cells = []
    for run in runs:
        rows, read, seconds = (_sum(run, key) for key in ("rows", "read", "reading_seconds"))
        rate = f"{read / seconds:.1f}" if read and seconds else ""
        numbers = (f"{rows:,.0f}", f"{read:,.0f}", rate)
        cells.append((run.id, run.state, *numbers, shlex.join(run.command)))
    show_table(columns, cells, expand=True)


@app.command()
def show(id_: Id) -> None:
    """Print the whole log of a run as YAML."""
    import yaml

    from ecomfs.batch import find_run

    run = find_run(id_)
    set_result({"run": _plain(run)})
    shown = {name: getattr(run, name) for name in run.__slots__}
    shown["command"] = shlex.join(run.command)
    say(yaml.safe_dump(shown, allow_unicode=True, sort_keys=False), end="")


@app.command()
def compare(first: Id, second: Id) -> None:
    """Compare two runs: input, model, examples, options, results."""
    from ecomfs.batch import compare_runs, find_run
    from ecomfs.cli.present import show_table

    one, other = find_run(first), find_run(second)
    rows = [*compare_runs(one, other)]
    set_result({"runs": [one.id, other.id], "rows": rows})
    show_table(("", one.id, other.id), rows)


@app.command()
def resume(
    id_: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="id of the run, a prefix of it, or last: the newest that can be resumed",
        ),
    ] = "last",
    show_only: Annotated[
        bool, typer.Option("--print", help="print the command, do not run it")
    ] = False,
) -> None:
    """Resume an interrupted run: run its command again in its folder, with its journal."""
    from ecomfs.batch import find_run, last_resumable
    from ecomfs.errors import ConfigError

    run = last_resumable() if id_ == "last" else find_run(id_)
    line = f"cd {shlex.quote(run.folder)} && ecomfs {shlex.join(run.command)}"
    set_result({"run": run.id, "command": line})
    if show_only:
        say(line)
        return
    if not run.resumable:
        raise ConfigError(f"run {run.id} is {run.state}", hint="see the command with --print")
    if any("***@" in word or "=***" in word for word in run.command):
        raise ConfigError(
            f"run {run.id} had a password in its command, and the log does not keep passwords",
            hint=f"enter the command again: {line}",
        )
    from ecomfs.cli import run as run_command

    say(line)
    try:
        os.chdir(run.folder)
    except OSError as error:
        raise ConfigError(f"{run.folder}: {error.strerror}") from error
    raise typer.Exit(run_command(run.command))


def _plain(run: Run) -> dict[str, Any]:
    named = {name: getattr(run, name) for name in run.__slots__}
    return {**named, "command": shlex.join(run.command)}


def _sum(run: Run, key: str) -> float:
    values: list[Any] = [tally.get(key, 0) for tally in run.outputs.values()]
    return float(sum(values))
