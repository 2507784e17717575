"""Tables whose rows are pairs of a user and an item already: ranked within each list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecomfs.batch import read_marks
from ecomfs.core import event_loop
from ecomfs.core.progress import READING, Progress, part, silent
from ecomfs.errors import InputError
from ecomfs.io import TableReader, TableRow
from ecomfs.pipeline import Pipeline
from ecomfs.rank.order import CHUNK, places
from ecomfs.task import FieldMap, TaskCard, column_labels
from ecomfs.types import Prediction, Row, Status


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a table, one entry a row each.

    Attributes:
        header: columns of the table.
        rows: as they came.
        fields: the card's fields of each.
        lists: which list a row belongs to.
        units: which unit was sampled (a user with several lists); the lists where no column
            names it.
        truth: true label as the table spells it, empty where it is missing; ``None`` when no
            column holds it.
    """

    header: tuple[str, ...]
    rows: list[TableRow]
    fields: list[Row]
    lists: list[str]
    units: list[str]
    truth: list[str] | None


def read_pairs(
    source: str | Path,
    card: TaskCard,
    *,
    group: str,
    gold: str | None = None,
    unit: str | None = None,
    fields: Mapping[str, str] | None = None,
    limit: int | None = None,
    encoding: str | None = None,
) -> Pairs:
    """Read a table of pairs.

    Args:
        group: column that names the list of a row (a user, a session, a query).
        gold: column with true labels.
        unit: column that names the unit which intervals resample; ``group`` by default.
        fields: card field → column, where names differ.
        limit: only the first rows.
        encoding: of a table that is not UTF-8; found out by default.

    Raises:
        InputError: the file; a row that is in no list.
        ColumnError: a column that is not there.
    """
    reader = TableReader(source, encoding=encoding)
    reader.require(*(name for name in (group, gold, unit) if name is not None))
    mapping = read_marks(FieldMap.resolve(card, reader.header, fields, reader.name), card, reader)
    rows: list[TableRow] = []
    for row in reader.rows():
        if limit is not None and len(rows) >= limit:
            break
        for column in (group, unit or group):
            if not row.error and not row.cells[column].strip():
                raise InputError(
                    f"{reader.name}, line {row.line}: column {column!r} is empty",
                    hint="every row belongs to a list",
                )
        rows.append(row)
    return Pairs(
        header=tuple(reader.header),
        rows=rows,
        fields=[mapping.fields(row.cells, card) for row in rows],
        lists=[row.cells[group].strip() for row in rows],
        units=[row.cells[unit or group].strip() for row in rows],
        truth=None if gold is None else _truth(rows, gold, reader.name),
    )


def _truth(rows: Sequence[TableRow], gold: str, name: str) -> list[str]:
    places = [f"{name}, line {row.line}" for row in rows]
    return [text or "" for text in column_labels([row.cells[gold] for row in rows], places, gold)]


def score_pairs(
    pipeline: Pipeline,
    pairs: Pairs,
    *,
    progress: Progress = silent,
) -> list[Prediction]:
    """One prediction a pair, in order; a row that cannot be read is a failed one.

    Raises:
        EngineError: the engine is gone.
    """
    out: list[Prediction] = []
    for start in range(0, len(pairs.rows), CHUNK):
        chunk = range(start, min(start + CHUNK, len(pairs.rows)))
        asked = [i for i in chunk if not pairs.rows[i].error]
        rows, ids = [pairs.fields[i] for i in asked], [str(i) for i in asked]
        told = part(progress, READING, start, len(pairs.rows))
        answers = iter(event_loop.run(pipeline.classify(rows, ids, progress=told)))
        for i in chunk:
            error = pairs.rows[i].error
            out.append(
                Prediction(str(i), None, status=Status.FAILED, error=error)
                if error
                else next(answers)
            )
    return out


def list_order(
    lists: Sequence[str], scores: Sequence[float | None], top: int | None = None
) -> list[tuple[int, int | None]]:
    """(position, rank) of every row that is shown: list by list as they first come, the best
    first, those without a score at the end of their list, with no rank.

    >>> list_order(["u1", "u2", "u1", "u1"], [0.2, 0.5, None, 0.9], top=1)
    [(3, 1), (2, None), (1, 1)]
    """
    members: dict[str, list[int]] = {}
    for position, name in enumerate(lists):
        members.setdefault(name, []).append(position)
    out: list[tuple[int, int | None]] = []
    for positions in members.values():
        for place, i in enumerate(places([scores[p] for p in positions]), 1):
            position = positions[i]
            if scores[position] is None:
                out.append((position, None))
            elif top is None or place <= top:
                out.append((position, place))
    return out
