"""Reads the rows of a comparison with their true labels, and true labels for a traffic log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ecomfs.batch import read_examples
from ecomfs.errors import ConfigError, DuplicateIdError, EmptyInputError, InputError
from ecomfs.io import TableReader, TableRow, text_encoding
from ecomfs.pool import refuse_synthetic
from ecomfs.task import TaskCard, column_labels, find_column, label_space_of
from ecomfs.types import Example

MOST_VALUES = 50
"""Most values of a slice column."""


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """Labelled rows that every variant classifies.

    Attributes:
        rows: the rows with their true labels in the pool's spelling.
        slices: column → one value per row.

    >>> len(ComparedRows((Example("r1", {"text": "fits"}, "positive"),), {"shop": ("A",)}))
    1
    """

    rows: tuple[Example, ...]
    slices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)


def read_test_rows(
    path: Path,
    card: TaskCard,
    pool: Sequence[Example],
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    slice_columns: Sequence[str] = (),
    limit: int | None = None,
    encoding: str | None = None,
) -> ComparedRows:
    r"""Read the rows to compare on.

    Args:
        pool: all labelled examples (before sampling); they define the labels.
        slice_columns: columns by which differences are reported.
        limit: only the first rows.
        encoding: encoding of a table that is not UTF-8; detected by default.

    Raises:
        InputError: the file, a row or a column cannot be used, ids repeat, or a row is synthetic.
        UnknownLabelError: a true label that the pool does not have.
        ConfigError: a slice column has too many values, or the limit is below 1.

    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "test.csv"
    >>> _ = path.write_text("text,label,shop\nfits well,Positive,A\nbroke at once,negative,B\n")
    >>> pool = [Example("p", {"text": "soft"}, "positive"),
    ...         Example("n", {"text": "torn"}, "negative")]
    >>> test = read_test_rows(path, load_task("review_sentiment"), pool, slice_columns=["shop"])
    >>> [row.label for row in test.rows], test.slices
    (['positive', 'negative'], {'shop': ('A', 'B')})
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit {limit}", hint="use 1 or more")
    rows = read_examples(
        path, card, fields=fields, label_column=label_column, id_column=id_column, encoding=encoding
    )[:limit]
    gold = in_labels_of(pool, rows, card, path.name)
    return ComparedRows(gold, _slices_of(path, slice_columns, len(rows), encoding))


def in_labels_of(
    pool: Sequence[Example], rows: Sequence[Example], card: TaskCard, where: str
) -> tuple[Example, ...]:
    """The rows with their true labels in the pool's spelling.

    Raises:
        InputError: a synthetic row.
        UnknownLabelError: a true label that the pool does not have.
    """
    refuse_synthetic(rows, where)
    space = label_space_of(card, pool)
    out = []
    for row in rows:
        at = f"{where}, row {row.id!r}"
        label = space.true_label(row.label, at)
        for name in card.labels_of(label, at):
            space.require(name, at)
        out.append(replace(row, label=label))
    return tuple(out)


def _slices_of(
    path: Path, columns: Sequence[str], rows: int, encoding: str | None = None
) -> dict[str, tuple[str, ...]]:
    """The cells of the slice columns in the first rows of a table."""
    if not columns:
        return {}
    reader = TableReader(path, encoding=text_encoding(path, encoding))
    reader.require(*columns)
    cells = [row.cells for row in islice(reader.rows(), rows)]
    found = {column: tuple(row[column].strip() for row in cells) for column in columns}
    for column, values in found.items():
        _check_slice(path.name, column, values)
    return found


def _check_slice(table: str, column: str, values: Iterable[str]) -> None:
    if (n := len(set(values))) > MOST_VALUES:
        raise ConfigError(
            f"{table}: column {column!r} has {n} values, too many to slice by",
            hint=f"name a column of categories, with at most {MOST_VALUES} values",
        )


@dataclass(frozen=True, slots=True)
class GoldLabels:
    """True labels of logged rows.

    Attributes:
        labels: row id → true label, as spelt in the file.
        slices: column → row id → value.
        unlabelled: number of rows without a label.
    """

    labels: Mapping[str, str]
    slices: Mapping[str, Mapping[str, str]]
    unlabelled: int


def read_gold(
    path: Path,
    card: TaskCard,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    slice_columns: Sequence[str] = (),
    encoding: str | None = None,
) -> GoldLabels:
    """Read true labels by row id.

    Args:
        encoding: encoding of a table that is not UTF-8; detected by default.

    Raises:
        InputError: the file, a column or a row cannot be used, or an id repeats.
        EmptyInputError: no row has a label.

    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "gold.csv"
    >>> _ = path.write_text("id,label\\nr1,positive\\nr2,\\n")
    >>> gold = read_gold(path, load_task("review_sentiment"))
    >>> dict(gold.labels), gold.unlabelled
    ({'r1': 'positive'}, 1)
    """
    reader = TableReader(path, encoding=text_encoding(path, encoding))
    name = path.name
    label = find_column(reader.header, label_column, card.label_column, name, "--label-column ")
    id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), "id")
    reader.require(id_name, *slice_columns)
    cells: dict[str, TableRow] = {}
    for row in reader.rows():
        where = f"{name}, line {row.line}"
        if row.error:
            raise InputError(f"{name}, {row.error}")
        id_ = row.cells[id_name]
        if not id_:
            raise InputError(f"{where}: column {id_name!r} is empty")
        if id_ in cells:
            raise DuplicateIdError(
                f"{where}: id {id_!r} is already used on line {cells[id_].line}",
                hint="keep one row per id",
            )
        cells[id_] = row
    rows = cells.values()
    places = [f"{name}, line {row.line}" for row in rows]
    found = column_labels([row.cells[label] for row in rows], places, label)
    labels = {id_: text for id_, text in zip(cells, found, strict=True) if text is not None}
    if not labels:
        raise EmptyInputError(f"{name}: no row has a label", hint="label some rows first")
    slices = {c: {id_: cells[id_].cells[c].strip() for id_ in labels} for c in slice_columns}
    for column, values in slices.items():
        _check_slice(name, column, values.values())
    return GoldLabels(labels, slices, len(cells) - len(labels))
