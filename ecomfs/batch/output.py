"""The columns that scoring adds to a table, and the table of rows that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecomfs.batch.origin import refuse_synthetic_table
from ecomfs.io import TableReader, TableRow
from ecomfs.task import FieldMap, TaskCard
from ecomfs.types import Prediction, Status

COLUMNS = (
    "predicted",
    "confidence",
    "status",
    "suggestion",
    "prediction_set",
    "novelty",
    "source",
    "error",
    "note",
    "demonstration_ids",
    "template",
)
NUMBERS = ("confidence", "novelty")
"""Those of :data:`COLUMNS` that hold numbers."""
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
    template, found = prediction.template, prediction.probabilities
    return [
        prediction.label or "",
        number_cell(prediction.confidence),
        str(prediction.status),
        *detail_cells(prediction),
        prediction.error,
        "; ".join(n for n in notes if n),
        " ".join(prediction.demonstration_ids),
        str(template) if template else "",
        *(f"{found[n]:.6f}" if found else "" for n in names),
    ]


def detail_cells(prediction: Prediction) -> list[str]:
    """The cells of ``suggestion``, ``prediction_set`` (a JSON list), ``novelty`` and ``source``.

    >>> detail_cells(Prediction("r1", None, {"yes": 0.6, "no": 0.4}, source="fused",
    ...                         prediction_set=("yes", "no"), novelty=0.5))
    ['yes', '["yes", "no"]', '0.500000', 'fused']
    """
    return [
        prediction.suggestion or "",
        set_cell(prediction),
        number_cell(prediction.novelty),
        prediction.source,
    ]


def set_cell(prediction: Prediction) -> str:
    """A prediction set as a JSON list; empty where none was made."""
    labels = list(prediction.prediction_set)
    return json.dumps(labels, ensure_ascii=False) if labels else ""


def number_cell(value: float | None) -> str:
    """A number of six decimals; empty where there is none."""
    return "" if value is None else f"{value:.6f}"


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
