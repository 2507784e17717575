"""Labelled examples from a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ecomfs.batch.origin import origin_column, origin_of
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
    RowError,
)
from ecomfs.features import RowText
from ecomfs.io import TableReader, TableRow, text_encoding
from ecomfs.task import (
    FieldMap,
    Label,
    LabelSpace,
    TaskCard,
    column_labels,
    find_column,
    first_empty,
    label_text,
)
from ecomfs.types import Example


def read_examples(
    path: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    encoding: str | None = None,
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
        encoding: of a text table that is not UTF-8; found out by default.

    Raises:
        InputError: naming the file, the line and the column.
        UnknownLabelError: a closed card does not know a label.
    """
    table = _Labelled(path, card, fields, label_column, id_column, encoding)
    return table.examples(blank="error")


def read_labelled_so_far(
    path: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    encoding: str | None = None,
) -> tuple[list[Example], int]:
    """The labelled examples of a table in which not every row is labelled yet, such as
    ``ecomfs suggest`` writes; and how many rows have no label.

    Args and errors are those of :func:`read_examples`.

    Raises:
        EmptyInputError: no row has a label.
    """
    table = _Labelled(path, card, fields, label_column, id_column, encoding)
    return table.examples(blank="skip"), table.blank


def read_several(
    paths: Sequence[str | Path],
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    encoding: str | None = None,
) -> list[Example]:
    """The labelled examples of several files, one after the other; of one file, just as
    :func:`read_examples` gives them.

    Rows of a file that has no ids are called by the file and the line.

    Raises:
        ConfigError: a file that is named twice.
        DuplicateIdError: an id that two files have.
        InputError: as :func:`read_examples`.
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise ConfigError("one file of examples is named twice", hint="name each file once")
    names = {Path(path).name for path in paths}
    found: list[Example] = []
    places: dict[str, str] = {}
    for path in paths:
        table = _Labelled(path, card, fields, label_column, id_column, encoding)
        if len(paths) > 1 and table.id_name is None:
            # Folders may hold files of one name.
            table.prefix = f"{table.name if len(names) == len(paths) else path}:"
        for example in table.examples(blank="error"):
            place = f"{table.name}, line {table.lines[example.id]}"
            first = places.setdefault(example.id, place)
            if first != place:
                raise DuplicateIdError(
                    f"{place}: id {example.id!r} is already used in {first}",
                    hint="make the ids unique across the files, or name another --id-column",
                )
            found.append(example)
    return found


class _Labelled:
    """A table of labelled examples, its columns found.

    Attributes:
        name: of the file, for messages.
        id_name: its column of ids.
        prefix: of ids that are line numbers.
        blank: rows without a label that were skipped.
        lines: id → line.
    """

    def __init__(
        self,
        path: str | Path,
        card: TaskCard,
        fields: Mapping[str, str] | None,
        label_column: str | None,
        id_column: str | None,
        encoding: str | None,
    ) -> None:
        self._reader = reader = TableReader(path, encoding=text_encoding(path, encoding))
        self._card = card
        self.name = reader.path.name
        self._mapping = read_marks(
            FieldMap.resolve(card, reader.header, fields, self.name), card, reader
        )
        self._label = find_column(
            reader.header, label_column, card.label_column, self.name, "--label-column "
        )
        self.id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
        if self.id_name is not None:
            reader.require(self.id_name)
        self.prefix = ""
        self.blank = 0
        self.lines: dict[str, int] = {}

    def examples(self, *, blank: Literal["error", "skip"]) -> list[Example]:
        rows = list(self._rows())
        places = [f"{self.name}, line {row.line}" for row in rows]
        labels = column_labels([row.cells[self._label] for row in rows], places, self._label)
        if blank == "skip" and not any(labels):
            raise EmptyInputError(
                f"{self.name}: column {self._label!r} holds no label",
                hint="label some rows, or name another column with --label-column",
            )
        known = known_labels(self._card)
        columns = self._mapping.columns
        marks = origin_column(
            self._reader.header, {*columns.values(), self._label, self.id_name or ""}
        )
        examples: list[Example] = []
        for row, where, text in zip(rows, places, labels, strict=True):
            if text is None:
                if blank == "error":
                    raise InputError(
                        f"{where}: column {self._label!r} is empty",
                        hint="every example is labelled",
                    )
                self.blank += 1
                continue
            if known is not None:
                known.require(text, where)
            values = self._mapping.fields(row.cells, self._card)
            empty = first_empty(values, self._card)
            if empty is not None:
                raise InputError(f"{where}: column {columns[empty]!r} is empty")
            id_ = row.cells[self.id_name] if self.id_name else f"{self.prefix}line{row.line}"
            if id_ in self.lines:
                raise DuplicateIdError(
                    f"{where}: id {id_!r} is already used on line {self.lines[id_]}",
                    hint="make the ids unique, or name another column with --id-column",
                )
            self.lines[id_] = row.line
            examples.append(Example(id_, values, text, *origin_of(row.cells, marks, where)))
        return examples

    def _rows(self) -> Iterator[TableRow]:
        for row in self._reader.rows():
            if row.error:
                raise InputError(
                    f"{self.name}, {row.error}",
                    hint="mend that line: cells with a comma, a quote or a line break stand in "
                    "quotes, and the whole file has one encoding (--input-encoding)",
                )
            yield row


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
    named = label_text(label)
    if named is None:
        raise InputError("the label is empty", hint="every example is labelled")
    known = known_labels(card)
    if known is not None:
        known.require(named, "the example")
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return Example(f"x-{digest[:12]}" if id is None else id, fields, named)


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
