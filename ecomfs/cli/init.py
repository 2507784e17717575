"""``ecomfs init``: first results from a labelled table, in one command."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import parse_fields
from ecomfs.cli.json_result import set_result, wants_json
from ecomfs.cli.terminal import is_quiet, say, show_phases
from ecomfs.core.options import DEFAULTS, NO_MODEL, OPTIONS
from ecomfs.core.progress import CHECKING
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
    OutputError,
    RowError,
)

if TYPE_CHECKING:
    from ecomfs.io import TableReader, TableRow
    from ecomfs.task import FieldMap, TaskCard
    from ecomfs.types import Example


LABELLED, PER_LABEL, TESTED = 128, 5, 100
"""Defaults: number of labelled examples (or this many per label, if that is more), and most test
rows."""
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
        typer.Option(help="with a new task: column to classify by (repeatable) [text columns]"),
    ] = None,
    field: o.Fields = None,
    id_column: o.IdColumn = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="folder for the results [FILE without its suffix]"),
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
) -> None:
    """Start from a table of labelled rows: find its columns and task, and score some of its rows.

    Proposes a task (an included one, or a new one), draws labelled examples and test rows, scores
    the test rows without a model and then with one, and saves the commands. If something is
    unclear, it asks; without a terminal, or with --yes, this is an error that names the option.
    """
    phases = show_phases(CHECKING)
    import yaml

    from ecomfs.pool import split_examples
    from ecomfs.task import TaskCard, load_task

    if task is not None and new_task is not None:
        raise ConfigError("--task together with --new-task", hint="leave one of them out")
    if column and task is not None:
        raise ConfigError(
            "--column together with --task", hint="map the column to a field: --field F=COLUMN"
        )
    ask = Questions(asking=not yes and on_terminal())
    table = LabelledTable.read(source, input_encoding)
    phases.clear()
    label = _label_column(table, label_column, ask)
    stem = re.split(r"\.(?=\w)", source.name)[0]
    folder = output or Path(stem if stem not in ("", "-") else "init")
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
    given = parse_fields(field)
    mapping = table.fields(card, label, given)
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
    # With the columns of the source, so that the commands also fit the user's own rows.
    named_columns = _named_columns(mapping, given)
    _write(folder, drafted, *(_with_columns(each, named_columns) for each in (pool, test)))
    words = [f"{folder / 'test.csv'}", "-t", where, "-e", f"{folder / 'pool.csv'}"]
    words += [] if embedder == DEFAULTS["embedder"] else ["--embedder", embedder]
    words += ["--seed", str(seed)] if seed else []
    words += [w for n, name in named_columns.items() for w in ("--field", f"{n}={name}")]
    gold = ["--gold-column", "label"]
    runs = Commands()
    runs.do(["score", *words, *gold, "--engine", NO_MODEL, "-o", f"{folder / 'experts.csv'}"])
    model = _model() if engine is None else engine
    if model != NO_MODEL:
        runs.do(["plan", *words, "--engine", model, "--probe", "4"])
        if ask.agree(f"read the {len(test)} rows with {model} too?"):
            runs.do(["score", *words, *gold, "--engine", model, "-o", f"{folder / 'scored.csv'}"])
    own = ["init", str(source), *(["--task", named] if named else ["--new-task", card.name])]
    own += ["--label-column", label, "--shots", str(size), "--test-rows", str(len(test))]
    own += ["--seed", str(seed), "--yes", "--engine", model]
    own += [] if embedder == DEFAULTS["embedder"] else ["--embedder", embedder]
    for option, value in (("--id-column", id_column), ("--input-encoding", input_encoding)):
        own += [] if value is None else [option, value]
    for option, values in (("--field", field), ("--column", column)):
        own += [word for value in values or () for word in (option, value)]
    own += ["-o", str(folder)]
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
    encoded = [] if input_encoding is None else ["--input-encoding", input_encoding]
    say(f"your own rows: {shlex.join(['ecomfs', 'score', 'ROWS.csv', *words[1:], *encoded])}")
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
    """The name of a task, and why it was chosen; ``None`` for a new task."""
    from ecomfs.task import load_task, only_texts, propose_tasks

    found = propose_tasks(table.reader.header, label, [*table.kinds(label)])
    if not found:
        return None, ""
    if len(found) == 1 and not only_texts(found):
        return found[0].task, found[0].why
    choices = {p.task: load_task(p.task).description.en for p in found}
    choices[_NEW] = "a new task with the labels of the table"
    options = [*(f"--task {p.task}" for p in found), f"--new-task {_task_name(table.name)}"]
    chosen = ask.choose(f"{table.name}: which task is it?", choices, options)
    why = next((p.why for p in found if p.task == chosen), "")
    return (None if chosen == _NEW else chosen), why


def _refuse_several(table: LabelledTable, card: TaskCard, label: str) -> None:
    """Refuse cells with several labels: this command is for one label per row."""
    from ecomfs.task import guess_label_separator

    kinds = table.kinds(label)
    mark = card.label_separator or guess_label_separator(kinds)
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
    from ecomfs.task import available_tasks, draft_task, filled_card, text_columns

    if name in available_tasks():
        raise ConfigError(f"task {name!r} exists already", hint=f"use it: --task {name}")
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
    return filled_card(draft.card, table.cells)


def _counts(labels: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in labels.most_common(6))
    return shown + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")


def _refuse_files(folder: Path) -> None:
    """Nothing is overwritten."""
    there = next((folder / name for name in _FILES if (folder / name).exists()), None)
    if folder.is_file() or there is not None:
        raise OutputError(f"{there or folder} exists already", hint="name another folder: -o")


_OTHERS = {"id", "label", "synthetic", "source_id", "method"}
"""Columns of a table of examples beside its fields."""


def _named_columns(mapping: FieldMap, given: Mapping[str, str]) -> dict[str, str]:
    """Field → column, for the fields whose column the user named."""
    found = {name: mapping.columns[name] for name in given if name in mapping.columns}
    kept = {name: column for name, column in found.items() if name != column}
    taken = _OTHERS | mapping.columns.keys()
    return {n: column for n, column in kept.items() if column.casefold() not in taken}


def _with_columns(examples: list[Example], columns: Mapping[str, str]) -> list[Example]:
    """The examples with columns in place of fields."""
    return [
        replace(each, fields={columns.get(n, n): v for n, v in each.fields.items()})
        for each in examples
    ]


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
    """A model that is available on this machine, preferably the demo model; else ``none``."""
    from ecomfs.engine import available_models

    ready = [m.spec for m in available_models() if m.ready and m.spec.startswith("gguf:")]
    return next(iter(ready), NO_MODEL)


FEWEST = 6
"""Fewest labelled rows of a table."""


@dataclass(frozen=True, slots=True)
class LabelledTable:
    """The table with labelled rows.

    Attributes:
        reader: reader of the table.
        rows: the rows that can be read.
        bad: the errors of the other rows.
    """

    reader: TableReader
    rows: list[TableRow]
    bad: list[str]

    @classmethod
    def read(cls, source: Path, encoding: str | None) -> LabelledTable:
        """Read all rows."""
        from ecomfs.io import TableReader

        reader = TableReader(source, encoding=encoding)
        rows = list(reader.rows())
        bad = [f"{row.error}" for row in rows if row.error]
        good = [row for row in rows if not row.error]
        if not good:
            raise EmptyInputError(f"{source}: no row can be read", hint=bad[0] if bad else "")
        return cls(reader, good, bad)

    @property
    def name(self) -> str:
        return self.reader.name

    @property
    def cells(self) -> dict[str, list[str]]:
        """Column → its cells."""
        return {name: [row.cells[name] for row in self.rows] for name in self.reader.header}

    def kinds(self, column: str) -> Counter[str]:
        """The distinct values of a column with counts, the most frequent first."""
        values = (row.cells[column].strip() for row in self.rows)
        return Counter(value for value in values if value)

    def fields(self, card: TaskCard, label: str, given: Mapping[str, str]) -> FieldMap:
        """Maps the columns to fields of a card; the label column is not a field."""
        from ecomfs.batch import read_marks
        from ecomfs.task import FieldMap

        others = [name for name in self.reader.header if name != label]
        found = FieldMap.resolve(card, others, given, self.name)
        return read_marks(found, card, self.reader)


@dataclass(frozen=True, slots=True)
class LabelledExamples:
    """The labelled rows of a table, without duplicates.

    Attributes:
        examples: the examples.
        labels: label → number of examples.
        unlabelled, copies: number of rows without a label, and of duplicates.
        contradicting: number of duplicates with another label than the first.
        unusable: the errors of rows that cannot be examples.
    """

    examples: list[Example]
    labels: Counter[str]
    unlabelled: int
    copies: int
    contradicting: int
    unusable: list[str]

    def left_out(self, unread: Sequence[str]) -> str:
        """A text on the rows that are not among the examples."""
        bad = [*unread, *self.unusable]
        copies = f"{self.copies} copies of another row"
        if self.contradicting:
            copies += f", {self.contradicting} of these with another label"
        parts = [
            f"{self.unlabelled} without a label" if self.unlabelled else "",
            copies if self.copies else "",
            f"{len(bad)} that cannot be used, such as {bad[0]}" if bad else "",
        ]
        shown = "; ".join(filter(None, parts))
        return f" ({shown})" if shown else ""


def read_examples(
    table: LabelledTable, card: TaskCard, mapping: FieldMap, label: str, id_column: str | None
) -> LabelledExamples:
    """The examples of a table."""
    from ecomfs.features import RowText
    from ecomfs.task import LabelSpace, column_labels, first_empty
    from ecomfs.types import Example

    places = [f"{table.name}, line {row.line}" for row in table.rows]
    labels = column_labels([row.cells[label] for row in table.rows], places, label)
    ids = _ids(table, id_column)
    words = RowText(card)
    seen: dict[str, Example] = {}
    bad: list[str] = []
    copies = contradicting = 0
    for row, place, id_, text in zip(table.rows, places, ids, labels, strict=True):
        if text is None:
            continue
        values = mapping.fields(row.cells, card)
        empty = first_empty(values, card)
        try:
            rendered = "" if empty is not None else words.render(values, "en")
        except RowError as error:
            bad.append(f"{place}: {error.message}")
            continue
        if empty is not None:
            bad.append(f"{place}: column {mapping.columns[empty]!r} is empty")
        elif rendered in seen:
            copies += 1
            contradicting += seen[rendered].label != text
        else:
            seen[rendered] = Example(id_, values, text)
    examples = [*seen.values()]
    if len(examples) < FEWEST:
        why = f": {bad[0]}" if bad else ""
        raise InputError(
            f"{table.name}: {len(examples)} different rows with a label{why}",
            hint=f"label more rows; at least {FEWEST} are needed",
        )
    LabelSpace.resolve(card, (e.label for e in examples), table.name)
    counts = Counter(e.label for e in examples)
    return LabelledExamples(examples, counts, labels.count(None), copies, contradicting, bad)


def _ids(table: LabelledTable, given: str | None) -> list[str]:
    """The ids of the rows; line numbers if there is no id column, or if ids repeat."""
    if given is not None:
        table.reader.require(given)
    own = given or next((c for c in table.reader.header if c.strip().casefold() == "id"), None)
    lines = [f"line{row.line}" for row in table.rows]
    if own is None:
        return lines
    ids = [row.cells[own].strip() for row in table.rows]
    if len({*ids}) == len(ids) and all(ids):
        return ids
    if given is not None:
        raise DuplicateIdError(
            f"{table.name}: column {own!r} repeats an id, or has an empty one",
            hint="name a column of unique ids with --id-column",
        )
    typer.echo(f"note: column {own!r} repeats ids: rows are named by their lines", err=True)
    return lines


def on_terminal() -> bool:
    """Whether questions can be asked on a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions about a table: asked on a terminal, otherwise an error.

    Attributes:
        asking: whether to ask on the terminal.
    """

    asking: bool

    def choose(self, question: str, choices: Mapping[str, str], options: Sequence[str]) -> str:
        """Ask for one of several choices.

        Args:
            choices: value → why it is a candidate.
            options: command-line options that answer the question.
        """
        if not self.asking:
            shown = "; ".join(f"{value} ({text})" for value, text in choices.items())
            raise ConfigError(f"{question} {shown}", hint=f"give the option: {', '.join(options)}")
        values = [*choices]
        width = max(map(len, values))
        typer.echo(question, err=True)
        for number, (value, text) in enumerate(choices.items(), 1):
            typer.echo(f"  {number}  {value:{width}}  {text}", err=True)
        while True:
            given: int = typer.prompt("number", default=1, type=int, err=True)
            if 1 <= given <= len(values):
                return values[given - 1]
            typer.echo(f"enter a number from 1 to {len(values)}", err=True)

    def agree(self, question: str) -> bool:
        """Whether to go on; ``True`` if no question is asked."""
        return not self.asking or typer.confirm(question, default=True, err=True)

    def confirm(self, question: str) -> None:
        """End the command if the answer is no."""
        if not self.agree(question):
            raise typer.Exit(0)


class Commands:
    """Runs commands in this process, with its ``--quiet`` and ``--json``, and records them.

    Attributes:
        done: the arguments of each command.
        results: the result of each command, with ``--json``.
    """

    def __init__(self) -> None:
        self.done: list[list[str]] = []
        self.results: list[Any] = []
        self._as_json = wants_json()
        self._more = ["--quiet"] * is_quiet() + ["--json"] * self._as_json

    def do(self, words: list[str]) -> None:
        """Run one command line."""
        from ecomfs.cli import run

        say(f"\n$ {shlex.join(['ecomfs', *words])}", flush=True)
        if not self._as_json:
            code = run([*words, *self._more])
        else:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                code = run([*words, *self._more])
            self.results.append(json.loads(printed.getvalue())["result"])
        if code:
            raise typer.Exit(code)
        self.done.append(words)

    def write(self, path: Path, own: list[str]) -> None:
        """Write the commands as a shell script, after the command that made the tables."""
        from ecomfs.io import write_text

        head = [
            "#!/bin/sh",
            "# The commands of ecomfs init, to be run in the folder in which it ran. This one made",
            "# the tables (it overwrites nothing, so name another folder to run it again):",
            f"# {shlex.join(['ecomfs', *own])}",
            "set -e",
        ]
        lines = [shlex.join(["ecomfs", *words]) for words in self.done]
        write_text(path, "\n".join([*head, *lines, ""]))
