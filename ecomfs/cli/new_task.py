"""``ecomfs new-task``: the draft of a task from labelled data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say
from ecomfs.core.options import OPTIONS
from ecomfs.errors import ColumnError, ConfigError, InputError, OutputError, TaskError

_CALLED = {"en": "English", "zh": "Chinese"}


def new_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the new task")],
    source: Annotated[Path, typer.Option("--from", help="table of labelled rows")],
    label_column: Annotated[str, typer.Option(help="column of --from that holds the label")],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="column to classify by (repeatable) [all but id and label]"),
    ] = None,
    input_encoding: o.InputEncoding = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="prompt language; auto is each row's own: auto, en, zh [that of the rows, or auto "
            "where they have both]",
            autocompletion=lambda: list(OPTIONS["language"].choices),
        ),
    ] = None,
    label_separator: Annotated[
        str | None,
        typer.Option(
            help="what stands between the labels of a cell, such as '|': a row may have several; "
            "'': a row has one [asked where cells look so]"
        ),
    ] = None,
    hierarchy: Annotated[
        str | None,
        typer.Option(
            help="what stands between parent and child in a label, such as ' > '; '': nothing "
            "[asked where labels look so]"
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--prompts", help="folder of tasks")] = Path("prompts"),
) -> None:
    """Write the draft of a task card and its templates, to be edited; nothing is overwritten."""
    from ecomfs.io import TableReader, write_text
    from ecomfs.task import available_tasks, column_labels, draft_task

    if language is not None:
        OPTIONS["language"].check(language, "--language")
    target = folder / name
    if target.exists() or name in available_tasks():
        where = target if target.exists() else f"task {name!r}"
        raise TaskError(f"{where} is there already", hint="choose another name, or edit that task")
    reader = TableReader(source, encoding=input_encoding)
    reader.require(label_column, *(column or ()))
    columns = column or [
        each for each in reader.header if each != label_column and each.casefold() != "id"
    ]
    if label_column in columns:
        raise ColumnError(f"column {label_column!r} is the label", hint="do not classify by it")
    cells: list[str] = []
    texts: list[str] = []
    places: list[str] = []
    for row in reader.rows():
        if row.error:
            raise InputError(f"{source.name}, {row.error}")
        cells.append(row.cells[label_column])
        texts += [row.cells[each] for each in columns]
        places.append(f"{source.name}, line {row.line}")
    labels = [label or "" for label in column_labels(cells, places, label_column)]
    mark, tree = _declared(labels, label_separator, hierarchy, source.name)
    of_texts = language or _language(texts)
    draft = draft_task(
        name,
        columns,
        labels,
        label_column=label_column,
        language="en" if of_texts == "en" else "zh" if of_texts == "zh" else "auto",
        label_separator=mark,
        hierarchy=tree,
        where=source.name,
    )
    try:
        target.mkdir(parents=True)
        write_text(target / "task.yaml", draft.card, private=False)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
    set_result(
        {
            "folder": target,
            "rows": len(labels),
            "labels": [*draft.labels],
            "language": of_texts,
            "label_separator": mark,
            "hierarchy": tree,
            "columns": columns,
            "aliases": {label: [*others] for label, others in draft.aliases.items()},
            "questions": draft.questions,
        }
    )
    say(f"{len(labels)} rows, {len(draft.labels)} labels, {len(columns)} columns: {target}")
    if mark:
        say(f"note: a row may have several labels, with {mark!r} between them in a cell")
    if tree:
        say(f"note: labels are parent{tree}child; rows are classified by parent, then by child")
    if language is None and of_texts != "auto":
        say(f"note: all rows are {_CALLED[of_texts]}: so is the card; --language auto has both")
    for label, others in draft.aliases.items():
        also = ", ".join(map(repr, others))
        say(
            f"note: {also} counts as the label {label!r} (aliases); give it an entry of its own "
            "if it is another label"
        )
    say(
        f"answer the {draft.questions} questions in {target / 'task.yaml'}, "
        f"then run: ecomfs lint-task {target}"
    )


def _declared(
    labels: Sequence[str], separator: str | None, hierarchy: str | None, where: str
) -> tuple[str | None, str | None]:
    """What the card says of its labels: the separator of several, or the mark of a hierarchy;
    asked where the labels look so and the command does not say it.

    Raises:
        ConfigError: they look so, and nobody can be asked.
    """
    from ecomfs.task import composite_separator, tree_separator

    if separator or hierarchy:
        return separator or None, hierarchy or None
    mark = composite_separator(labels) if separator is None else None
    tree = tree_separator(labels) if hierarchy is None and mark is None else None
    if mark is not None:
        example = next(label for label in labels if mark in label)
        if _yes(
            f"{where}: cells such as {example!r} look like several labels: may a row have several",
            f"--label-separator '{mark}' for several labels a row, or --label-separator '' for one",
        ):
            return mark, None
        return "", None
    if tree is not None:
        if _yes(
            f"{where}: labels such as {labels[0]!r} look like parent and child: is it a taxonomy",
            f"--hierarchy '{tree}' for a taxonomy, or --hierarchy '' for labels without parents",
        ):
            return None, tree
        return separator, None
    return separator, None


def _yes(question: str, flags: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{question}?", hint=flags)
    return typer.confirm(f"{question}?", default=True, err=True)


def _language(texts: Sequence[str]) -> str:
    """The language of all texts that have one; ``auto`` where they have both, or none has."""
    from ecomfs.io import detect_language

    found = {detect_language(text) for text in texts if any(c.isalpha() for c in text)}
    return next(iter(found)) if len(found) == 1 else "auto"
