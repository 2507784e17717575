"""The columns that scoring adds to a table, and the table of rows that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecomfs.batch.origin import refuse_synthetic_table
from ecomfs.table import TableReader, TableRow
from ecomfs.task import FieldMap, TaskCard
from ecomfs.types import Prediction, Status

COLUMNS = (
    "predicted",
    "confidence",
    "status",
    "error",
    "note",
    "demonstration_ids",
    "template",
)
FAILED_COLUMNS = ("failed_status", "failed_reason")
_FORMATS = {".csv", ".tsv", ".tab", ".txt", ".parquet", ".pq", ".gz", ".zst", ".zstd"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table keeps what scoring needs."""

    fields: FieldMap
    id: str | None
    gold: str | None


def find_columns(
    source: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
    encoding: str | None = None,
    reader: TableReader | None = None,
) -> Columns:
    """Open a table and find its columns: a quick check before a model is loaded.

    Args:
        encoding: of a table that is not UTF-8; found out by default.
        reader: of the table, when it is open already.

    Raises:
        InputError: the file or its columns, or true labels of synthetic rows.
    """
    reader = reader or TableReader(source, encoding=encoding)
    for named in (id_column, gold_column):
        if named is not None:
            reader.require(named)
    mapping = FieldMap.resolve(card, reader.header, fields, reader.name)
    found = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if gold_column is not None:
        refuse_synthetic_table(reader, {*mapping.columns.values(), gold_column, found or ""})
    return Columns(mapping, found, gold_column)


def row_id(row: TableRow, id_name: str | None, position: int) -> str:
    """The row's own id, or its position, counted from 0."""
    return row.cells[id_name] if id_name else str(position)


def prediction_cells(
    row: TableRow, prediction: Prediction, names: Sequence[str], doubled: bool
) -> list[str]:
    """The cells of :data:`COLUMNS`, and one a name in ``names`` for its probability."""
    notes = [row.note, prediction.note]
    if doubled:
        notes.append(f"id {prediction.id!r} occurs more than once")
    if row.extra:
        notes.append(beyond(row))
    confidence, template = prediction.confidence, prediction.template
    found = prediction.probabilities
    return [
        prediction.label or "",
        "" if confidence is None else f"{confidence:.6f}",
        str(prediction.status),
        prediction.error,
        "; ".join(n for n in notes if n),
        " ".join(prediction.demonstration_ids),
        str(template) if template else "",
        *(f"{found[n]:.6f}" if found else "" for n in names),
    ]


def failed_cells(row: TableRow, prediction: Prediction) -> list[str] | None:
    """The cells of :data:`FAILED_COLUMNS`; ``None`` for a row that did not fail."""
    if prediction.status not in (Status.FAILED, Status.INVALID):
        return None
    reasons = [prediction.error, beyond(row) if row.extra else ""]
    return [str(prediction.status), "; ".join(r for r in reasons if r)]


def beyond(row: TableRow) -> str:
    """The cells of a row that have no column."""
    return f"cells beyond the header: {json.dumps(row.extra, ensure_ascii=False)}"


def failed_path(output: Path) -> Path:
    """Where the rows that failed go.

    >>> failed_path(Path("out/reviews.scored.csv.gz")).name
    'reviews.scored.failed.csv'
    """
    return output.with_name(f"{stem(output)}.failed.csv")


def journal_path(output: Path) -> Path:
    """Where the journal of an output lies.

    >>> journal_path(Path("out/reviews.scored.csv")).name
    'reviews.scored.csv.journal'
    """
    return output.with_name(f"{output.name}.journal")


def stem(path: Path) -> str:
    """A file's name without the suffixes that say how it is written.

    >>> stem(Path("a.b.csv.zst")), stem(Path("a.b"))
    ('a.b', 'a.b')
    """
    while path.suffix.lower() in _FORMATS and path.stem:
        path = path.with_suffix("")
    return path.name


def is_failed_table(path: Path) -> bool:
    """Whether a file is a table of failed rows, and so may be replaced or removed."""
    try:
        with path.open("rb") as file:
            return all(name.encode() in file.readline(1 << 20) for name in FAILED_COLUMNS[1:])
    except OSError:
        return False
