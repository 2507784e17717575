"""``ecomfs explain``: how one row is classified, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import (
    OptionalExamples,
    check_guarantees,
    classifier_of_task,
    print_notes,
)
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say, show_phases
from ecomfs.core.progress import LOADING

if TYPE_CHECKING:
    from ecomfs.task import TaskCard
    from ecomfs.types import Row


@o.flatten_options
def explain(
    row: Annotated[
        str,
        typer.Argument(
            metavar="ROW", help="the row: its text, a JSON object, or (with --row) a table"
        ),
    ],
    labelled: OptionalExamples,
    settings: o.Answering,
    at: Annotated[
        str | None,
        typer.Option(
            "--row", help="row of the table: its id, or its number from 1 if there are no ids"
        ),
    ] = None,
    id_column: o.IdColumn = None,
    influence: Annotated[
        bool,
        typer.Option(
            "--influence",
            help="also read the row without each demonstration, to see which change the result",
        ),
    ] = False,
) -> None:
    """Explain one row: the distribution after each step, the demonstrations, the prompt.

    ecomfs explain "broke after a day" -t TASK; ecomfs explain '{"query": "…", "product": "…"}'
    -t TASK; ecomfs explain reviews.csv --row 17 -t TASK.
    """
    from ecomfs.errors import ConfigError
    from ecomfs.estimators import FewShotClassifier, as_rows

    if at is not None and not row:
        raise ConfigError("ROW is empty", hint="with --row, name a table")
    given = as_row(row) if at is None else None
    if at is None and id_column is not None:
        raise ConfigError("--id-column without --row", hint="name the row: --row ID")
    check_guarantees(settings, labelled)
    card, pool = labelled.load()
    # Check the row before the model is loaded.
    if given is None:
        given = _row_of_table(row, str(at), card, labelled, id_column)
    elif isinstance(given, str):
        _check_text(given, card)
    as_rows([given], card, labelled.fields)
    phases = show_phases(LOADING)
    clf = classifier_of_task(labelled, settings)
    if influence and not isinstance(clf, FewShotClassifier):
        raise ConfigError(
            f"--influence with task {card.name!r}, which has several labels a row or a hierarchy",
            hint="leave it out",
        )
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
        phases.clear()
        print_notes(clf, settings)
        how = {"influence": influence} if isinstance(clf, FewShotClassifier) else {}
        found = clf.explain(given, **how)
    set_result(found.to_dict())
    say(found)


def as_row(text: str) -> str | Row:
    """A JSON object as fields, anything else as the text of the row.

    >>> as_row('{"age": 30}'), as_row("broke after a day")
    ({'age': 30}, 'broke after a day')
    """
    import json

    from ecomfs.errors import InputError

    if not text.lstrip().startswith("{"):
        return text
    try:
        fields: Row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the row is not a JSON object: {error}",
            hint='write {"field": "value", …}; put a text that begins with { into "text"',
        ) from error
    return fields


def _check_text(text: str, card: TaskCard) -> None:
    """Refuse a text that names a file, or a plain text for a task of several fields."""
    from ecomfs.errors import InputError

    try:
        table = Path(text).is_file()
    except (OSError, ValueError):  # longer than a path can be, or with a NUL in it
        table = False
    if table:
        raise InputError(f"{text} is a file, not a text", hint="name the row: --row ID")
    needed = [spec.name for spec in card.fields if spec.required]
    if len(needed) == 1:
        return
    names = needed or [spec.name for spec in card.fields]
    more = ", …" if len(names) > 3 else ""
    values = ", ".join(f'"{name}": "…"' for name in names[:3])
    raise InputError(
        f"a row of task {card.name!r} is not a plain text: it has {', '.join(names[:3])}{more}",
        hint=f"write a JSON object: '{{{values}{more}}}', or name a table and its row: "
        "TABLE --row ID",
    )


def _row_of_table(
    source: str, id_: str, card: TaskCard, labelled: OptionalExamples, id_column: str | None
) -> dict[str, Any]:
    """The cells of one row of a table."""
    from ecomfs.batch import find_columns
    from ecomfs.errors import DuplicateIdError, InputError
    from ecomfs.io import TableReader

    reader = TableReader(source, encoding=labelled.input_encoding)
    column = find_columns(
        source, card, fields=labelled.fields, id_column=id_column, reader=reader
    ).id
    found = [
        row
        for number, row in enumerate(reader.rows(), 1)
        if id_.strip() == (str(number) if column is None else row.cells[column].strip())
    ]
    if not found:
        hint = f"its ids are in column {column!r}" if column else "it has no ids: give a number"
        raise InputError(f"{reader.name}: no row {id_!r}", hint=hint)
    if len(found) > 1:
        raise DuplicateIdError(
            f"{reader.name}: id {id_!r} is on lines {found[0].line} and {found[1].line}",
            hint="name a column of unique ids with --id-column",
        )
    if found[0].error:
        raise InputError(f"{reader.name}, {found[0].error}", hint="correct that line")
    return dict(found[0].cells)


__all__ = ["explain"]
