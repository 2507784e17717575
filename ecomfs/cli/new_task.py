"""``ecomfs new-task``: the draft of a task from labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.core.options import OPTIONS
from ecomfs.errors import ColumnError, InputError, OutputError, TaskError


def new_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the new task")],
    source: Annotated[Path, typer.Option("--from", help="table of labelled rows")],
    label_column: Annotated[str, typer.Option(help="column of --from that holds the label")],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="column to classify by (repeatable) [all but id and label]"),
    ] = None,
    input_encoding: o.InputEncoding = None,
    language: Annotated[str, typer.Option(help=OPTIONS["language"].text)] = "auto",
    folder: Annotated[Path, typer.Option("--prompts", help="folder of tasks")] = Path("prompts"),
) -> None:
    """Write the draft of a task card and its templates, to be edited; nothing is overwritten."""
    from ecomfs.io import TableReader
    from ecomfs.task import available_tasks, column_labels, draft_task

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
    places: list[str] = []
    for row in reader.rows():
        if row.error:
            raise InputError(f"{source.name}, {row.error}")
        cells.append(row.cells[label_column])
        places.append(f"{source.name}, line {row.line}")
    labels = [label or "" for label in column_labels(cells, places, label_column)]
    draft = draft_task(
        name,
        columns,
        labels,
        label_column=label_column,
        language="en" if language == "en" else "zh" if language == "zh" else "auto",
        where=source.name,
    )
    try:
        target.mkdir(parents=True)
        (target / "task.yaml").write_text(draft.card, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
    set_result(
        {
            "folder": target,
            "rows": len(labels),
            "labels": [*draft.labels],
            "columns": columns,
            "aliases": {label: [*others] for label, others in draft.aliases.items()},
            "questions": draft.questions,
        }
    )
    print(f"{len(labels)} rows, {len(draft.labels)} labels, {len(columns)} columns: {target}")
    for label, others in draft.aliases.items():
        also = ", ".join(map(repr, others))
        print(
            f"note: {also} counts as the label {label!r} (aliases); give it an entry of its own "
            "if it is another label"
        )
    print(
        f"answer the {draft.questions} questions in {target / 'task.yaml'}, "
        f"then run: ecomfs lint-task {target}"
    )
