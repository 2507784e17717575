"""Reads and writes tables of labelled examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ecomfs.batch.feed import origin_column, origin_of, read_marks
from ecomfs.errors import (
    ConfigError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
)
from ecomfs.io import TableReader, TableRow, added_columns, text_encoding, writing
from ecomfs.task import (
    FieldMap,
    Label,
    LabelSpace,
    TaskCard,
    column_labels,
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
    encoding: str | None = None,
) -> list[Example]:
    """Read the labelled examples of a file.

    A pool is small and every example matters, so any unusable row is an error, also one without a
    label. Rows with ``yes`` in column ``synthetic`` are synthetic; the columns ``source_id`` and
    ``method`` give their origin.

    Parameters
    ----------
    path : str or Path
        Any input of :class:`ecomfs.io.TableReader`.
    card : TaskCard
        The task.
    fields : mapping, optional
        Card field → column, where names differ.
    label_column : str, optional
        The column of labels; found by the names in the card by default.
    id_column : str, optional
        Column of unique ids; ``id`` by default, else line numbers are used.
    encoding : str, optional
        Encoding of a text table that is not UTF-8; detected by default.

    Raises
    ------
    InputError
        A row cannot be used; the message has the file, the line and the column.
    UnknownLabelError
        A label that a closed card does not have.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "pool.csv"
    >>> write_examples(path, [Example("a", {"text": "fits well"}, "positive")])
    >>> read_examples(path, load_task("review_sentiment"))[0].label
    'positive'
    """
    table = _Labelled(path, card, fields, label_column, id_column, encoding)
    return table.examples(blank="error")


def read_partly_labelled(
    path: str | Path, card: TaskCard, **columns: Any
) -> tuple[list[Example], int]:
    """Read the labelled examples of a table in which some rows have no label yet.

    Parameters
    ----------
    path, card
        As in :func:`read_examples`; ``ecomfs suggest`` writes such tables.
    **columns
        ``fields``, ``label_column``, ``id_column`` and ``encoding`` of :func:`read_examples`.

    Returns
    -------
    list of Example, int
        The examples, and the number of rows without a label.

    Raises
    ------
    EmptyInputError
        No row has a label.
    InputError, UnknownLabelError
        As in :func:`read_examples`.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "pool.csv"
    >>> _ = path.write_text("text,label\\nfits well,positive\\ntoo small,\\n")
    >>> examples, blank = read_partly_labelled(path, load_task("review_sentiment"))
    >>> len(examples), blank
    (1, 1)
    """
    table = _Labelled(path, card, **columns)
    return table.examples(blank="skip"), table.blank


def read_several(paths: Sequence[str | Path], card: TaskCard, **columns: Any) -> list[Example]:
    """Read the labelled examples of several files and concatenate them.

    Parameters
    ----------
    paths : sequence of str or Path
        The files. Rows without ids get ids from the file name and the line; for a single file, from
        the line only.
    card : TaskCard
        The task.
    **columns
        ``fields``, ``label_column``, ``id_column`` and ``encoding`` of :func:`read_examples`.

    Raises
    ------
    ConfigError
        A file is given twice.
    DuplicateIdError
        Two files have the same id.
    InputError, UnknownLabelError
        As in :func:`read_examples`.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> paths = [Path(tempfile.mkdtemp()) / name for name in ("one.csv", "two.csv")]
    >>> for path in paths:
    ...     _ = path.write_text("text,label\\nfits well,positive\\n")
    >>> [example.id for example in read_several(paths, load_task("review_sentiment"))]
    ['one.csv:line2', 'two.csv:line2']
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise ConfigError("a file of examples is given twice", hint="give each file once")
    names = {Path(path).name for path in paths}
    found: list[Example] = []
    places: dict[str, str] = {}
    for path in paths:
        table = _Labelled(path, card, **columns)
        if len(paths) > 1 and table.id_name is None:
            # Files in different folders may have the same name.
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
    """A table of labelled examples and its columns.

    Attributes:
        name: name of the file, for messages.
        id_name: column of ids.
        prefix: prefix of ids made from line numbers.
        blank: number of skipped rows without a label.
        lines: id → line.
    """

    def __init__(
        self,
        path: str | Path,
        card: TaskCard,
        fields: Mapping[str, str] | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
        encoding: str | None = None,
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
                f"{self.name}: column {self._label!r} has no labels",
                hint="label some rows, or name another column with --label-column",
            )
        known = allowed_labels(self._card)
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
                        hint="give every example a label",
                    )
                self.blank += 1
                continue
            if known is not None:
                for label in self._card.labels_of(text, where):
                    known.require(label, where)
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
                    hint="correct that line: quote cells with a comma, quote or line break, and "
                    "use one encoding for the whole file (--input-encoding)",
                )
            yield row


def allowed_labels(card: TaskCard) -> LabelSpace | None:
    """The labels of a closed card; ``None`` for an open card, which uses the labels of the pool."""
    if card.label_space != "closed":
        return None
    return LabelSpace([Label(spec.name, spec) for spec in card.labels])


def write_examples(path: str | Path, examples: Sequence[Example]) -> None:
    """Write examples as a table that :func:`read_examples` reads.

    Parameters
    ----------
    path : str or Path
        A table in the format of its name, with ``id``, the fields and ``label``; ``synthetic``,
        ``source_id`` and ``method`` where an example has them.
    examples : sequence of Example
        The examples; values that are not text are written as JSON.

    Raises
    ------
    ConfigError
        The format is not written (``.json``, ``.xls``), or its package is not installed.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pool.csv"
    >>> write_examples(path, [Example("a", {"text": "fine"}, "positive")])
    >>> path.read_text().splitlines()
    ['id,text,label', 'a,fine,positive']
    """
    fields = list(dict.fromkeys(name for e in examples for name in e.fields))
    ends = ["label"]
    if any(e.synthetic for e in examples):
        ends.append("synthetic")
    if any(e.source_id or e.method for e in examples):
        ends += ["source_id", "method"]
    shown = added_columns(["id", *ends], fields)
    with writing(path, ["id", *shown, *ends]) as out:
        out.write(_cells(example, fields, ends) for example in examples)


def _cells(example: Example, fields: Sequence[str], ends: Sequence[str]) -> list[str]:
    mark = "yes" if example.synthetic else "no"
    own = [example.label, mark, example.source_id, example.method][: len(ends)]
    return [example.id, *(table_cell(example.fields.get(name)) for name in fields), *own]


def table_cell(value: Any) -> str:
    """A value as a cell of a table; JSON if it is not text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
