"""The columns that scoring adds to a table, and a prediction as their cells."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ecomfs.io import (
    TableRow,
    added_columns,
)
from ecomfs.types import Prediction

COLUMNS = (
    "predicted",
    "confidence",
    "status",
    "suggestion",
    "prediction_set",
    "novelty",
    "suspicious",
    "source",
    "error",
    "note",
    "demonstration_ids",
    "template",
)
"""The columns that scoring adds to a table."""
NUMBERS = ("confidence", "novelty")
"""Those of :data:`COLUMNS` that hold numbers."""


def detail_cells(prediction: Prediction) -> list[str]:
    """The cells of ``suggestion``, ``prediction_set`` (a JSON list), ``novelty``,
    ``suspicious`` and ``source``.

    >>> detail_cells(Prediction("r1", None, {"yes": 0.6, "no": 0.4}, source="fused",
    ...                         prediction_set=("yes", "no"), novelty=0.5))
    ['yes', '["yes", "no"]', '0.500000', '', 'fused']
    """
    return [
        prediction.suggestion or "",
        set_cell(prediction),
        number_cell(prediction.novelty),
        " ".join(prediction.suspicious),
        prediction.source,
    ]


def set_cell(prediction: Prediction) -> str:
    """A prediction set as a JSON list; empty where none was made.

    >>> set_cell(Prediction("r1", "yes", prediction_set=("yes",)))
    '["yes"]'
    """
    labels = list(prediction.prediction_set)
    return json.dumps(labels, ensure_ascii=False) if labels else ""


def number_cell(value: float | None) -> str:
    """A number of six decimals; empty where there is none.

    >>> number_cell(0.25), number_cell(None)
    ('0.250000', '')
    """
    return "" if value is None else f"{value:.6f}"


def prediction_cells(
    row: TableRow, prediction: Prediction, names: Sequence[str], doubled: bool
) -> list[str]:
    """The cells of :data:`COLUMNS`, and one per name in ``names`` for its probability."""
    notes = [row.note, prediction.note]
    if doubled:
        notes.append(f"id {prediction.id!r} occurs more than once")
    if row.extra:
        notes.append(beyond_header(row))
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


def beyond_header(row: TableRow) -> str:
    """The cells of a row that have no column."""
    return f"cells beyond the header: {json.dumps(row.extra, ensure_ascii=False)}"


def columns_beside(header: Sequence[str], shown: Sequence[str]) -> tuple[str, ...]:
    """The columns that scoring adds, under free names.

    Args:
        shown: labels whose probability has a column.

    >>> columns_beside(["text", "status"], ["yes"])[:3], columns_beside([], ["yes"])[-1]
    (('predicted', 'confidence', 'status_2'), 'p_yes')
    """
    return added_columns(header, [*COLUMNS, *(f"p_{n}" for n in shown)])
