"""A table of labelled rows, and the examples that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecomfs.errors import DuplicateIdError, EmptyInputError, InputError, RowError

if TYPE_CHECKING:
    from ecomfs.io import TableReader, TableRow
    from ecomfs.task import FieldMap, TaskCard
    from ecomfs.types import Example

FEWEST = 6
"""Fewest labelled rows of a table."""


@dataclass(frozen=True, slots=True)
class LabelledTable:
    """The table.

    Attributes:
        reader: to read it again.
        rows: those that can be read.
        bad: why the others cannot.
    """

    reader: TableReader
    rows: list[TableRow]
    bad: list[str]

    @classmethod
    def read(cls, source: Path, encoding: str | None) -> LabelledTable:
        """All rows of it.

        Raises:
            EmptyInputError: it has none.
            InputError: it cannot be read.
        """
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
        """The different values of a column, the most frequent first."""
        values = (row.cells[column].strip() for row in self.rows)
        return Counter(value for value in values if value)

    def fields(self, card: TaskCard, label: str, given: Mapping[str, str]) -> FieldMap:
        """Which column is which field of a card; the label is none.

        Raises:
            ColumnError: a required field has no column.
        """
        from ecomfs.batch import read_marks
        from ecomfs.task import FieldMap

        others = [name for name in self.reader.header if name != label]
        found = FieldMap.resolve(card, others, given, self.name)
        return read_marks(found, card, self.reader)


@dataclass(frozen=True, slots=True)
class LabelledExamples:
    """The labelled rows of a table, no two with the same fields.

    Attributes:
        examples: these rows.
        labels: label → how many of them.
        unlabelled, copies: rows without a label; rows like an earlier one.
        contradicting: copies with another label than the first.
        unusable: why rows cannot be examples.
    """

    examples: list[Example]
    labels: Counter[str]
    unlabelled: int
    copies: int
    contradicting: int
    unusable: list[str]

    def left_out(self, unread: Sequence[str]) -> str:
        """What is not among the examples, in words."""
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
    """The examples of a table.

    Raises:
        InputError: a label that the task does not know, too few examples or labels.
    """
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
            hint=f"label some more, {FEWEST} at least",
        )
    LabelSpace.resolve(card, (e.label for e in examples), table.name)
    counts = Counter(e.label for e in examples)
    return LabelledExamples(examples, counts, labels.count(None), copies, contradicting, bad)


def _ids(table: LabelledTable, given: str | None) -> list[str]:
    """The ids of the rows; lines, where the table has no column of them, or it repeats some."""
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
