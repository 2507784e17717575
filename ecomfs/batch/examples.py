"""Labelled examples from a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecomfs.batch.origin import origin_column, origin_of
from ecomfs.errors import ColumnError, ConfigError, DuplicateIdError, InputError, RowError
from ecomfs.table import TableReader
from ecomfs.task import (
    FieldMap,
    Label,
    LabelSpace,
    RowText,
    TaskCard,
    find_column,
    first_empty,
)
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

    Rows with yes in a column ``synthetic`` are synthetic; the columns ``source_id`` and ``method``
    then say where they came from.

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
    mapping = read_marks(FieldMap.resolve(card, reader.header, fields, name), card, reader)
    label = find_column(reader.header, label_column, card.label_column, name, "--label-column ")
    id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if id_name is not None:
        reader.require(id_name)
    known = known_labels(card)
    marks = origin_column(reader.header, {*mapping.columns.values(), label, id_name or ""})
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for row in reader.rows():
        where = f"{name}, line {row.line}"
        if row.error:
            raise InputError(
                f"{name}, {row.error}",
                hint="mend that line: cells with a comma, a quote or a line break stand in "
                "quotes, and the file is UTF-8 or GB18030",
            )
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
        examples.append(Example(id_, values, text, *origin_of(row.cells, marks, where)))
    return examples


def read_marks(mapping: FieldMap, card: TaskCard, reader: TableReader) -> FieldMap:
    """The fields of a table with the decimal marks of its number columns, which are looked
    through for it.

    Raises:
        InputError: see :meth:`ecomfs.task.FieldMap.decided`.
    """
    delimiter = reader.dialect.delimiter
    return mapping.decided(
        card,
        (row.cells for row in reader.rows() if not row.error),
        where=reader.name,
        likely="comma" if delimiter == ";" else "",
        typed=not delimiter,
    )


def make_example(
    card: TaskCard,
    text: str | None,
    values: Mapping[str, str],
    label: str,
    id: str | None = None,
) -> Example:
    """One labelled example, checked as those of a file are.

    Args:
        text: the value of the only required field.
        values: field → value, for the others.
        id: by default a digest of the fields, so that the same row twice is noticed.

    Raises:
        InputError: a field that is not the card's, a required one that is empty, or a cell that
            is not of its field's kind.
        UnknownLabelError: a closed card does not know the label.

    >>> from ecomfs.task import load_task
    >>> example = make_example(load_task("review_sentiment"), "fits well", {}, "positive")
    >>> example.id, example.fields["text"], example.label
    ('x-...', 'fits well', 'positive')
    """
    names = [spec.name for spec in card.fields]
    given = dict(values)
    if text is not None:
        needed = [spec.name for spec in card.fields if spec.required]
        if len(needed) != 1:
            raise ConfigError(
                f"task {card.name!r} has fields {', '.join(names)}",
                hint="give each as --set FIELD=VALUE",
            )
        given.setdefault(needed[0], text)
    for name in given:
        if name not in names:
            raise ColumnError(
                f"task {card.name!r} has no field {name!r}", hint=f"fields are: {', '.join(names)}"
            )
    fields = {name: given.get(name, "") for name in names}
    empty = first_empty(fields, card)
    if empty is not None:
        raise InputError(f"field {empty!r} is empty", hint="every example has a value there")
    check_cells(card, fields, "the example")
    known = known_labels(card)
    if known is not None:
        known.require(label, "the example")
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return Example(f"x-{digest[:12]}" if id is None else id, fields, label)


def check_cells(card: TaskCard, fields: Mapping[str, Any], where: str) -> None:
    """Refuse cells that are not of their field's kind: in a pool, one such example would stop
    every classifier that uses it.

    Raises:
        InputError: naming ``where`` and the column.
    """
    try:
        RowText(card).render(fields, "en")
    except RowError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error


def known_labels(card: TaskCard) -> LabelSpace | None:
    """The labels a closed card allows; ``None`` when the pool's own are the labels."""
    if card.label_space != "closed":
        return None
    return LabelSpace([Label(spec.name, spec) for spec in card.labels])
