"""Labelled examples from a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ecomfs.errors import DuplicateIdError, InputError
from ecomfs.table import TableReader
from ecomfs.task import FieldMap, Label, LabelSpace, TaskCard, find_column, first_empty
from ecomfs.types import Example


def read_examples(
    path: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> list[Example]:
    """The labelled examples of a file.

    A pool is small and every row of it counts, so any bad row stops: better a mended pool than
    one silently smaller than its owner believes. Rows without a label are errors too.

    Args:
        fields: card field → column, where names differ.
        label_column: the column that holds the label; found by the card's names by default.
        id_column: unique ids; the column ``id`` by default, else the line number.

    Raises:
        InputError: naming the file, the line and the column.
        UnknownLabelError: a closed card does not know a label.
    """
    reader = TableReader(path)
    name = reader.path.name
    mapping = FieldMap.resolve(card, reader.header, fields, name)
    label = find_column(reader.header, label_column, card.label_column, name, "--label-column ")
    id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if id_name is not None:
        reader.require(id_name)
    known = (
        LabelSpace([Label(spec.name, spec) for spec in card.labels])
        if card.label_space == "closed"
        else None
    )
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for row in reader.rows():
        where = f"{name}, line {row.line}"
        if row.error:
            raise InputError(f"{name}, {row.error}")
        text = row.cells[label].strip()
        if not text:
            raise InputError(
                f"{where}: column {label!r} is empty", hint="every example is labelled"
            )
        if known is not None:
            known.require(text, where)
        values = mapping.fields(row.cells, card)
        empty = first_empty(values, card)
        if empty is not None:
            raise InputError(f"{where}: column {mapping.columns[empty]!r} is empty")
        id_ = row.cells[id_name] if id_name else f"line{row.line}"
        if id_ in lines:
            raise DuplicateIdError(
                f"{where}: id {id_!r} is already used on line {lines[id_]}",
                hint="make the ids unique, or name another column with --id-column",
            )
        lines[id_] = row.line
        examples.append(Example(id_, values, text))
    return examples
