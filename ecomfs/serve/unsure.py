"""The rows of a scored table that a person should look at."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ecomfs.batch import find_columns
from ecomfs.batch.output import COLUMNS
from ecomfs.io import TableReader
from ecomfs.task import TaskCard
from ecomfs.types import Prediction, Row, Status


class UnsureRow(NamedTuple):
    """A row with its prediction."""

    id: str
    fields: Row
    prediction: Prediction


def unsure_rows(
    upload: Path, scored: Path, card: TaskCard, *, below: float, most: int
) -> list[UnsureRow]:
    """Rows that abstained, or whose confidence is below a limit, the least confident first. Rows
    that could not be read or answered are left out.

    Args:
        upload: the table that was scored; it has the cells as they were sent.
        scored: its result, with probabilities.
        most: longest list.
    """
    reader, answers = TableReader(str(upload)), TableReader(str(scored))
    columns = find_columns(str(upload), card, reader=reader)
    added = answers.header[len(reader.header) :]
    named = dict(zip(COLUMNS, added, strict=False))
    shares = {column.removeprefix("p_"): column for column in added[len(COLUMNS) :]}
    found: list[tuple[float, UnsureRow]] = []
    for row, answer in zip(reader.rows(), answers.rows(), strict=True):
        confidence, status = (answer.cells.get(named[n], "") for n in ("confidence", "status"))
        if row.error or not confidence or status not in (Status.OK, Status.ABSTAINED):
            continue
        if status == Status.ABSTAINED or float(confidence) < below:
            cells = answer.cells
            p = {name: float(cells[column]) for name, column in shares.items() if cells[column]}
            id_ = row.cells[columns.id] if columns.id else ""
            label = cells[named["predicted"]] or None
            prediction = Prediction(id_, label, p, Status(status))
            fields = columns.fields.fields(row.cells, card)
            found.append((float(confidence), UnsureRow(id_, fields, prediction)))
    found.sort(key=lambda each: each[0])
    return [row for _, row in found[:most]]


__all__ = ["UnsureRow", "unsure_rows"]
