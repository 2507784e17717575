"""The rows of a comparison: labelled, the same for all, cut into slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecomfs.batch import read_examples
from ecomfs.errors import ConfigError
from ecomfs.io import TableReader, text_encoding
from ecomfs.pool import refuse_synthetic
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Example

MOST_VALUES = 50
"""Most values of a slicing; a column with more is no category."""


@dataclass(frozen=True, slots=True)
class TestRows:
    """Attributes:
    rows: with their true labels in the pool's spelling.
    slices: column → one value a row.
    """

    __test__ = False  # not a test class

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
) -> TestRows:
    """The rows to compare on.

    Args:
        pool: all labelled examples (before any sample of them), which define the labels.
        slice_columns: columns to compare by.
        limit: only the first rows.
        encoding: of a table that is not UTF-8; found out by default.

    Raises:
        InputError: the file, a row, a column, doubled ids, or a synthetic row.
        UnknownLabelError: a true label the pool has never heard of.
        ConfigError: a slice column with too many values, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit {limit}", hint="one row or more")
    rows = read_examples(
        path, card, fields=fields, label_column=label_column, id_column=id_column,
        encoding=encoding,
    )[:limit]  # fmt: skip
    gold = in_labels_of(pool, rows, card, path.name)
    return TestRows(gold, slices_of(path, slice_columns, len(rows), encoding))


def in_labels_of(
    pool: Sequence[Example], rows: Sequence[Example], card: TaskCard, where: str
) -> tuple[Example, ...]:
    """Rows with their true labels as the pool spells them.

    Raises:
        InputError: a synthetic row.
        UnknownLabelError: a true label that the pool does not have.
    """
    refuse_synthetic(rows, where)
    space = LabelSpace.resolve(card, (e.label for e in pool))
    return tuple(
        replace(row, label=space.names[space.require(row.label, f"{where}, row {row.id!r}")])
        for row in rows
    )


def slices_of(
    path: Path, columns: Sequence[str], rows: int, encoding: str | None = None
) -> dict[str, tuple[str, ...]]:
    """The cells of some columns in the first rows of a table.

    Raises:
        ColumnError: the table has no such column.
        ConfigError: a column has too many values to slice by.
    """
    if not columns:
        return {}
    reader = TableReader(path, encoding=text_encoding(path, encoding))
    reader.require(*columns)
    found: dict[str, list[str]] = {column: [] for column in columns}
    for row in reader.rows():
        for column, values in found.items():
            if len(values) < rows:
                values.append(row.cells[column].strip())
    for column, values in found.items():
        if (n := len(set(values))) > MOST_VALUES:
            raise ConfigError(
                f"{path.name}: column {column!r} has {n} values, too many to slice by",
                hint=f"name a column of categories, with at most {MOST_VALUES} values",
            )
    return {column: tuple(values) for column, values in found.items()}
