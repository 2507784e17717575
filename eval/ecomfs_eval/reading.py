"""Predictions files of any system, as :class:`~ecomfs_eval.predictions.Predictions`.

A file holds one row a prediction: an id, the gold label, the predicted label, and, where the
system gives them, one probability column a label (``p_<label>``). Everything else is optional.

>>> import pandas as pd
>>> frame = pd.DataFrame({"id": ["r1", "r2"], "label": ["no", "yes"], "predicted": ["no", "no"],
...                       "p_no": [0.8, 0.6], "p_yes": [0.2, 0.4]})
>>> from_frame(frame).labels
('no', 'yes')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecomfs_eval import _check
from ecomfs_eval._labels import aligned, label_order, label_text, whole
from ecomfs_eval._reader import FrameReader
from ecomfs_eval._tables import FileKind, read_table
from ecomfs_eval.columns import MEASUREMENTS, USUAL, ColumnNames
from ecomfs_eval.errors import (
    DataError,
    EmptyDataError,
    OptionError,
    RowsDifferError,
)
from ecomfs_eval.predictions import FloatArray, Predictions

if TYPE_CHECKING:
    import pandas as pd


def from_file(
    path: str | Path,
    columns: ColumnNames | None = None,
    *,
    kind: FileKind | None = None,
    **options: Any,
) -> Predictions:
    """Predictions from a CSV, JSON-lines or Parquet file.

    Args:
        path: the file; also the default ``name`` (without folder and suffix).
        columns: which column holds what.
        kind: by default told by the suffix.
        options: as for :func:`from_frame`.

    Raises:
        NoSuchFileError, EmptyDataError, DataError, DataError, DataError,
        DataError, RowsDifferError: each names the file, row and column.
    """
    options.setdefault("name", Path(path).stem)
    options.setdefault("source", str(path))
    return from_frame(read_table(path, kind), columns, **options)


def from_frame(
    frame: pd.DataFrame,
    columns: ColumnNames | None = None,
    *,
    labels: Sequence[str] | None = None,
    gold: Mapping[str, str] | None = None,
    missing: Literal["error", "failed"] = "error",
    unknown_predicted: Literal["error", "invalid"] = "error",
    positive: str | None = None,
    currency: str = "USD",
    name: str = "system",
    source: str = "frame",
) -> Predictions:
    """Predictions from a frame with one row a prediction.

    Args:
        frame: the rows. Whole numbers stored as floats are read as whole (``1.0`` is label
            ``1``), since a column of integers with a gap becomes floats in pandas; text ``1.0``
            too, unless both spellings are labels. Other labels are compared as exact text.
        columns: which column holds what.
        labels: the label space; by default that of the probability columns, else every gold and
            predicted label, sorted (numbers by value).
        gold: id → gold label from elsewhere (labels that came later); then no gold column is
            read, and the rows must be exactly these ids.
        missing: what to do with ids of ``gold`` that the frame lacks: an error, or count them
            as failed rows.
        unknown_predicted: what to do with a predicted text that is not a label: an error, or
            count the row as invalid and keep the text in ``extra["answer"]``.
        positive: the positive class of binary metrics.
        currency: of the cost column.
        name: what reports call the system.
        source: how messages call the data.

    Raises:
        EmptyDataError, DataError, DataError, DataError, DataError,
        DataError, RowsDifferError, OptionError.
    """
    if len(frame.columns) == 0 or len(frame) == 0:
        raise EmptyDataError(f"{source}: no rows", hint="a metric needs at least one row")
    reader = FrameReader(frame, columns or ColumnNames(), source)
    ids = reader.ids()
    golds = reader.gold(ids, gold)
    space, table = reader.probabilities(labels)
    answers = reader.predicted(table, space)
    # What one file writes 1.0 another writes 1: both are one label, as they are in a frame.
    plain = whole(golds, space or ())
    if space is not None:
        space = tuple(plain.get(label, label) for label in space)
    golds = aligned([plain.get(label, label) for label in golds], space or ())
    answers = aligned(answers, space or golds)
    if space is None:
        seen = {*golds, *(a for a in answers if a)} if unknown_predicted == "error" else {*golds}
        space = tuple(label_order(seen))
    statuses, clean, raw = reader.statuses(ids, answers, space, unknown_predicted)
    extra = reader.texts(reader.columns.extra)
    if any(raw):
        extra = {**extra, "answer": tuple(raw)}
    result = Predictions(
        ids=tuple(ids),
        labels=space,
        gold=tuple(golds),
        predicted=tuple(clean),
        status=tuple(statuses),
        probabilities=table,
        positive=None if positive is None else aligned([plain.get(positive, positive)], space)[0],
        groups=reader.names(reader.columns.group),
        queries=reader.names(reader.columns.query),
        slices=reader.texts(reader.columns.slices),
        extra=extra,
        currency=currency,
        name=name,
        source=source,
        latency=reader.numbers("latency"),
        prompt_tokens=reader.numbers("prompt_tokens"),
        completion_tokens=reader.numbers("completion_tokens"),
        cached_tokens=reader.numbers("cached_tokens"),
        cost=reader.numbers("cost"),
    )
    return result if gold is None else _complete(result, gold, missing)


def to_frame(p: Predictions) -> pd.DataFrame:
    """The rows as a frame that :func:`from_frame` reads back.

    Raises:
        DataError: a slicing or extra column is called as one of the columns it needs itself.
    """
    import pandas as pd

    data: dict[str, Any] = {
        "id": list(p.ids),
        "gold": list(p.gold),
        "predicted": [a or "" for a in p.predicted],
        "status": list(p.status),
    }
    if p.probabilities is not None:
        data |= {f"p_{label}": p.probabilities[:, j] for j, label in enumerate(p.labels)}
    if p.groups is not None:
        data["group"] = list(p.groups)
    if p.queries is not None:
        data["query"] = list(p.queries)
    for measurement in MEASUREMENTS:
        if getattr(p, measurement) is not None:
            data[measurement] = getattr(p, measurement)
    taken = {*data, *(name for m in MEASUREMENTS for name in USUAL[m])}
    for column, values in (*p.slices.items(), *p.extra.items()):
        again = column in data and column not in taken and data[column] != list(values)
        if column in taken or again or column.startswith("p_"):
            raise DataError(
                f"{p.source}: column {column!r} would be read back as something else",
                hint="rename the slicing or the extra column",
            )
        data[column] = list(values)
    return pd.DataFrame(data)


def _complete(
    p: Predictions, gold: Mapping[str, str], missing: Literal["error", "failed"]
) -> Predictions:
    """Add the ids of ``gold`` that have no prediction as failed rows, or refuse."""
    have = set(p.ids)
    lost = [i for i in gold if i not in have]
    if not lost:
        return p
    if missing == "error":
        raise RowsDifferError(
            f"{p.source}: {len(lost)} of {len(gold)} labelled rows have no prediction: "
            f"{_check.some(lost)}",
            hint="predict them, or count them as failed with missing='failed'",
        )
    for what in ("groups", "queries"):
        if getattr(p, what) is not None:
            raise OptionError(
                f"{p.source}: rows without a prediction have no value for {what}",
                hint="write the missing rows with status failed",
            )
    extra = len(lost)

    def pad(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else np.concatenate([values, np.full(extra, np.nan)])

    table = p.probabilities
    if table is not None:
        table = np.vstack([table, np.full((extra, len(p.labels)), np.nan)])
    space = p.labels
    late = aligned([label_text(gold[i], f"gold label of {i!r}") for i in lost], space)
    strangers = set(late) - set(space)
    if strangers and table is None:
        space = tuple(label_order({*space, *strangers}))
    return Predictions(
        ids=(*p.ids, *lost),
        labels=space,
        gold=(*p.gold, *late),
        predicted=(*p.predicted, *([None] * extra)),
        status=(*p.status, *(["failed"] * extra)),
        probabilities=table,
        positive=p.positive if len(space) == len(p.labels) else None,
        slices={k: (*v, *([""] * extra)) for k, v in p.slices.items()},
        extra={k: (*v, *([""] * extra)) for k, v in p.extra.items()},
        currency=p.currency,
        name=p.name,
        source=p.source,
        latency=pad(p.latency),
        prompt_tokens=pad(p.prompt_tokens),
        completion_tokens=pad(p.completion_tokens),
        cached_tokens=pad(p.cached_tokens),
        cost=pad(p.cost),
    )


def gold_from_file(path: str | Path, *, id: str = "id", label: str = "label") -> dict[str, str]:
    """id → gold label from a labelled file, for :func:`from_frame`'s ``gold``.

    Raises:
        DataError: an id stands twice.
        DataError: a row without id or label.
    """
    reader = FrameReader(read_table(path), ColumnNames(id=id, gold=label), str(path))
    ids = reader.ids()
    golds = reader.gold(ids, None)
    labelled: dict[str, str] = {}
    for row, (key, value) in enumerate(zip(ids, golds, strict=True)):
        if key in labelled:
            raise DataError(f"{path}: row {row + 1} repeats id {key!r}", hint="keep one row an id")
        labelled[key] = value
    return labelled
