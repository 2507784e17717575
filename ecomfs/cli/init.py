"""``ecomfs init``: from a table with labels to first results, in one command."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.commands import Commands
from ecomfs.cli.json_result import set_result
from ecomfs.cli.labelled import parse_fields
from ecomfs.cli.labelled_table import LabelledTable, read_examples
from ecomfs.cli.progress import show
from ecomfs.cli.questions import Questions, on_terminal
from ecomfs.cli.terminal import say
from ecomfs.core.options import DEFAULTS, NO_MODEL, OPTIONS
from ecomfs.core.progress import CHECKING
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    InputError,
    OutputError,
)

if TYPE_CHECKING:
    from ecomfs.task import TaskCard
    from ecomfs.types import Example

LABELLED, PER_LABEL, TESTED = 128, 5, 100
"""Labelled examples without ``--shots``, or as many of each label if these are more; most test rows
without ``--test-rows``."""
_FILES = ("pool.csv", "test.csv", "commands.sh", "task")


def init(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="table with labelled rows")],
    task: Annotated[str | None, typer.Option("--task", "-t", help="task name or folder")] = None,
    new_task: Annotated[
        str | None, typer.Option("--new-task", metavar="NAME", help="make a task from the table")
    ] = None,
    label_column: o.LabelColumn = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="with a new task: column to classify by (repeatable) [those of texts]"),
    ] = None,
    field: o.Fields = None,
    id_column: o.IdColumn = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="folder for what is made [FILE without its ending]"),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(min=2, help="labelled examples [128, or 5 per label; at most two thirds]"),
    ] = None,
    test_rows: Annotated[int | None, typer.Option(min=1, help="rows to test on [100]")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help=f"{OPTIONS['engine'].help} [one that is installed]",
            envvar=OPTIONS["engine"].env,
        ),
    ] = None,
    embedder: o.EmbedderOption = DEFAULTS["embedder"],
    seed: o.Seed = DEFAULTS["seed"],
    input_encoding: o.InputEncoding = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="ask nothing")] = False,
    quiet: o.Quiet = False,
    as_json: o.AsJson = False,
) -> None:
    """Begin with a table of labelled rows: find its columns and task, and score some of its rows.

    Proposes a task (one that ships, or a new one), draws a labelled pool and a test part, scores
    the test part without a model and then with one, and writes down the commands. What the table
    leaves open is asked; without a terminal, or with --yes, it is an error that names the option.
    """
    phases = show(CHECKING, quiet=quiet)
    import yaml

    from ecomfs.pool import split_examples
    from ecomfs.task import TaskCard, load_task

    if task is not None and new_task is not None:
        raise ConfigError("--task beside --new-task", hint="leave one of them out")
    if column and task is not None:
        raise ConfigError("--column beside --task", hint="say which field it is: --field F=COLUMN")
    ask = Questions(asking=not yes and on_terminal())
    table = LabelledTable.read(source, input_encoding)
    phases.clear()
    label = _label_column(table, label_column, ask)
    folder = output or Path(re.split(r"\.(?=\w)", source.name)[0] or "init")
    _refuse_files(folder)
    named = task if new_task is None else None
    why = ""
    if named is None and new_task is None:
        named, why = _task(table, label, ask)
    drafted = None
    if named is None:
        name = new_task or _task_name(table.name)
        drafted = _draft(table, label, name, column)
        where, card = str(folder / "task"), TaskCard.model_validate(yaml.safe_load(drafted))
    else:
        where, card = named, load_task(named)
    _refuse_several(table, card, label)
    mapping = table.fields(card, label, parse_fields(field))
    found = read_examples(table, card, mapping, label, id_column)
    if drafted is not None:
        why = f"new, classified by {', '.join(mapping.columns.values())}"
    n, kinds = len(found.examples), len(found.labels)
    size = shots or max(2, min(max(LABELLED, PER_LABEL * kinds), 2 * n // 3))
    tested = test_rows or max(1, min(TESTED, n - size))
    pool, test = split_examples(found.examples, size, tested, seed)
    lines = [
        f"{table.name}: {len(table.rows) + len(table.bad)} rows{found.left_out(table.bad)}",
        f"label: column {label!r}, {kinds} labels: {_counts(found.labels)}",
        f"task: {card.name}{f' ({why})' if why else ''}",
        f"by seed {seed}: {len(pool)} labelled examples, {len(test)} rows to test on"
        + (f", {n - len(pool) - len(test)} rows not used" if n > len(pool) + len(test) else ""),
    ]
    say("\n".join(lines))
    ask.confirm(f"write them to {folder}?")
    _write(folder, drafted, pool, test)
    words = [f"{folder / 'test.csv'}", "-t", where, "-e", f"{folder / 'pool.csv'}"]
    words += [] if embedder == DEFAULTS["embedder"] else ["--embedder", embedder]
    words += ["--seed", str(seed)] if seed else []
    gold = ["--gold-column", "label"]
    runs = Commands(quiet=quiet, as_json=as_json)
    runs.do(["score", *words, *gold, "--engine", NO_MODEL, "-o", f"{folder / 'experts.csv'}"])
    model = _model() if engine is None else engine
    if model != NO_MODEL:
        runs.do(["plan", *words, "--engine", model, "--probe", "4"])
        if ask.agree(f"read the {len(test)} rows with {model} too?"):
            runs.do(["score", *words, *gold, "--engine", model, "-o", f"{folder / 'scored.csv'}"])
    own = ["init", str(source), *(["--task", named] if named else ["--new-task", card.name])]
    own += ["--label-column", label, "--shots", str(size), "--test-rows", str(len(test))]
    own += ["--seed", str(seed), "--yes", "--engine", model, "-o", str(folder)]
    for option, values in (("--field", field), ("--column", column)):
        own += [word for value in values or () for word in (option, value)]
    runs.write(folder / "commands.sh", own)
    set_result(
        {
            "folder": folder,
            "task": where,
            "label_column": label,
            "columns": dict(mapping.columns),
            "labels": dict(found.labels),
            "examples": len(pool),
            "test_rows": len(test),
            "commands": [shlex.join(["ecomfs", *words]) for words in runs.done],
            "results": runs.results,
        }
    )
    say(f"\nthe commands: {folder / 'commands.sh'}")
    say(f"your own rows: {shlex.join(['ecomfs', 'score', 'ROWS.csv', *words[1:]])}")
    if drafted is not None:
        say(f"say what the labels mean in {folder / 'task' / 'task.yaml'}: a model reads it")


def _label_column(table: LabelledTable, given: str | None, ask: Questions) -> str:
    from ecomfs.task import label_columns

    if given is not None:
        table.reader.require(given)
        return given
    found = label_columns(table.cells)
    if not found:
        raise ColumnError(
            f"{table.name}: no column looks like labels",
            hint=f"name it: --label-column COLUMN; columns are: {', '.join(table.reader.header)}",
        )
    if len(found) == 1:
        return found[0]
    choices = {name: _counts(table.kinds(name)) for name in found}
    options = [f"--label-column {shlex.quote(name)}" for name in found]
    return ask.choose(f"{table.name}: which column holds the label?", choices, options)


_NEW = "new"


def _task(table: LabelledTable, label: str, ask: Questions) -> tuple[str | None, str]:
    """The name of a task and the evidence for it; ``None`` for a new one."""
    from ecomfs.task import load_task, only_texts, propose_tasks

    found = propose_tasks(table.reader.header, label, [*table.kinds(label)])
    if not found:
        return None, ""
    if len(found) == 1 and not only_texts(found):
        return found[0].task, found[0].why
    choices = {p.task: load_task(p.task).description.en for p in found}
    choices[_NEW] = "a task of its own, with the labels of the table"
    options = [*(f"--task {p.task}" for p in found), f"--new-task {_task_name(table.name)}"]
    chosen = ask.choose(f"{table.name}: which task is it?", choices, options)
    why = next((p.why for p in found if p.task == chosen), "")
    return (None if chosen == _NEW else chosen), why


def _refuse_several(table: LabelledTable, card: TaskCard, label: str) -> None:
    """Refuse cells of several labels: this command is for one label per row.

    Raises:
        InputError: cells look so, or the task has such cells.
    """
    from ecomfs.task import composite_separator

    kinds = table.kinds(label)
    mark = card.label_separator or composite_separator(kinds)
    if mark and card.label_separator != "":
        shown = next((cell for cell in kinds if mark in cell), "")
        raise InputError(
            f"{table.name}: column {label!r} holds several labels per row, such as {shown!r}",
            hint=f"make a task of it: ecomfs new-task NAME --from {table.name} --label-column "
            f"{shlex.quote(label)} --label-separator {shlex.quote(mark)}; then ecomfs score",
        )


def _task_name(file: str) -> str:
    """A name for a new task.

    >>> _task_name("Gift notes-2024.csv"), _task_name("评论.csv")
    ('gift_notes_2024', 'my_task')
    """
    from ecomfs.task import available_tasks

    name = re.sub(r"[^a-z0-9]+", "_", file.split(".")[0].casefold()).strip("_")
    name = name if re.match(r"[a-z]", name) else "my_task"
    return f"my_{name}" if name in available_tasks() else name


def _draft(table: LabelledTable, label: str, name: str, given: Sequence[str] | None) -> str:
    """The card of a new task, as YAML."""
    from ecomfs.task import answered_card, available_tasks, draft_task, text_columns

    if name in available_tasks():
        raise ConfigError(f"task {name!r} is there already", hint=f"use it: --task {name}")
    if given:
        table.reader.require(*given)
    columns = [*given] if given else text_columns(table.cells, label)
    if not columns or label in columns:
        raise ColumnError(
            f"{table.name}: no column to classify by beside {label!r}"
            if not columns
            else f"column {label!r} is the label",
            hint=f"name another: --column COLUMN; columns are: {', '.join(table.reader.header)}",
        )
    labels = [row.cells[label] for row in table.rows]
    draft = draft_task(name, columns, labels, label_column=label, where=table.name)
    for one, others in draft.aliases.items():
        typer.echo(f"note: {', '.join(map(repr, others))} counts as the label {one!r}", err=True)
    return answered_card(draft.card, table.cells)


def _counts(labels: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in labels.most_common(6))
    return shown + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")


def _refuse_files(folder: Path) -> None:
    """Nothing is overwritten.

    Raises:
        OutputError: the folder holds one of the files that are made.
    """
    there = next((folder / name for name in _FILES if (folder / name).exists()), None)
    if folder.is_file() or there is not None:
        raise OutputError(f"{there or folder} is there already", hint="name another folder: -o")


def _write(folder: Path, card: str | None, pool: list[Example], test: list[Example]) -> None:
    from ecomfs.batch import write_examples
    from ecomfs.io import write_text

    try:
        (folder if card is None else folder / "task").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    if card is not None:
        write_text(folder / "task" / "task.yaml", card, private=False)
    write_examples(folder / "pool.csv", pool)
    write_examples(folder / "test.csv", test)


def _model() -> str:
    """A model that is ready on this machine, the demo model first; else none."""
    from ecomfs.engine import available_models

    ready = [m.spec for m in available_models() if m.ready and m.spec.startswith("gguf:")]
    return next(iter(ready), NO_MODEL)


__all__ = ["init"]
