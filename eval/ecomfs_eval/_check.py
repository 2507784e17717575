"""Checks of predictions: shapes, labels, distributions, measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecomfs_eval.errors import (
    DataError,
    EmptyDataError,
)

if TYPE_CHECKING:
    from ecomfs_eval.predictions import Predictions

SUM_TOLERANCE = 0.01
"""Largest accepted distance of a row's sum from one. Files often hold rounded numbers; with a
hundred labels and four decimals, rounding alone reaches half of this."""

_STATUSES = ("ok", "abstained", "invalid", "failed")
MEASUREMENTS = ("latency", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")
COLUMNS = (
    "gold",
    "predicted",
    "status",
    "probabilities",
    "groups",
    "queries",
    *MEASUREMENTS,
)
"""Attributes of predictions with one value per row, beside ids, slices and extra texts."""


def where(p: Predictions, row: int) -> str:
    """The location of a row for messages: file, row number (from 1), id."""
    return f"{p.source}: row {row + 1} (id {p.ids[row]!r})"


def some(values: Sequence[str], most: int = 8) -> str:
    """The first few names, and the number of the others, as text."""
    shown = ", ".join(repr(v) for v in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def shape(p: Predictions) -> None:
    """Check that there are rows, that ids are unique, and that columns have one value per id."""
    n = len(p.ids)
    if n == 0:
        raise EmptyDataError(f"{p.source}: no rows", hint="a metric needs at least one row")
    columns: dict[str, Sequence[object] | NDArray[np.float64] | None] = {
        **{k: getattr(p, k) for k in COLUMNS},
        **{f"slices[{k!r}]": v for k, v in p.slices.items()},
        **{f"extra[{k!r}]": v for k, v in p.extra.items()},
    }
    for name, values in columns.items():
        if values is not None and len(values) != n:
            raise DataError(
                f"{p.source}: {name} has {len(values)} values for {n} rows",
                hint="give one value per row, in the order of the ids",
            )
    doubled = [i for i, count in Counter(p.ids).items() if count > 1]
    if doubled:
        rows = [k + 1 for k, i in enumerate(p.ids) if i == doubled[0]]
        raise DataError(
            f"{p.source}: id {doubled[0]!r} is used by rows {rows[0]} and {rows[1]}"
            + (f", and {len(doubled) - 1} other ids occur twice" if len(doubled) > 1 else ""),
            hint="keep one row per id",
        )


def labels(p: Predictions) -> None:
    """Check that labels are unique and include all gold and predicted ones; check the statuses."""
    if len(set(p.labels)) != len(p.labels) or any(not x.strip() for x in p.labels):
        raise DataError(
            f"{p.source}: the label space {p.labels!r} has an empty or repeated label",
            hint="name every label once",
        )
    known = set(p.labels)
    for row, (gold, answer, status) in enumerate(zip(p.gold, p.predicted, p.status, strict=True)):
        if status not in _STATUSES:
            raise DataError(
                f"{where(p, row)}: status {status!r} is not known",
                hint="one of: " + ", ".join(_STATUSES),
            )
        if gold not in known:
            raise DataError(
                f"{where(p, row)}: gold label {gold!r} is not in the label space",
                hint=f"labels are: {some(p.labels)}",
            )
        if answer is not None and answer not in known:
            raise DataError(
                f"{where(p, row)}: predicted label {answer!r} is not in the label space",
                hint=f"labels are: {some(p.labels)}; or read the file with "
                "unknown_predicted='invalid' to count such rows as invalid",
            )
        if answer is None and status == "ok":
            raise DataError(
                f"{where(p, row)}: status is ok but there is no predicted label",
                hint="give the label, or a status of abstained, invalid or failed",
            )
    if p.positive is not None and p.positive not in known:
        raise DataError(
            f"{p.source}: positive class {p.positive!r} is not in the label space",
            hint=f"labels are: {some(p.labels)}",
        )
    if p.structure is not None:
        unknown = [label for label in p.labels if label not in p.structure.parts]
        if unknown:
            raise DataError(
                f"{p.source}: the structure has no parts for label {unknown[0]!r}",
                hint="give the parts of every label",
            )


def measurements(p: Predictions) -> None:
    """Check that no measurement is negative, and cached tokens do not exceed prompt tokens."""
    for name in MEASUREMENTS:
        values = getattr(p, name)
        if values is None:
            continue
        bad = np.flatnonzero((values < 0) | np.isinf(values))
        if bad.size:
            raise DataError(
                f"{where(p, int(bad[0]))}: {name} is {values[bad[0]]:g}",
                hint="leave it empty where it was not measured",
            )
    if p.cached_tokens is not None and p.prompt_tokens is not None:
        bad = np.flatnonzero(p.cached_tokens > p.prompt_tokens)
        if bad.size:
            row = int(bad[0])
            raise DataError(
                f"{where(p, row)}: {p.cached_tokens[row]:g} cached tokens of "
                f"{p.prompt_tokens[row]:g} prompt tokens",
                hint="cached tokens are part of the prompt tokens",
            )


def distribution(p: Predictions) -> NDArray[np.float64] | None:
    """The probabilities, each row normalised to one; ``None`` when no row has any."""
    table = p.probabilities
    if table is None:
        return None
    table = np.array(table, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(p.labels):
        raise DataError(
            f"{p.source}: probabilities have shape {table.shape} for {len(p.labels)} labels",
            hint="one column per label, in the order of the label space",
        )
    empty = np.isnan(table)
    absent = empty.all(axis=1)
    partly = np.flatnonzero(empty.any(axis=1) & ~absent)
    if partly.size:
        row = int(partly[0])
        gap = p.labels[int(np.flatnonzero(empty[row])[0])]
        raise DataError(
            f"{where(p, row)}: no probability for label {gap!r}",
            hint="give a probability for every label of the row, or for none",
        )
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero(((table < 0) | (table > 1 + SUM_TOLERANCE)).any(axis=1))
    if outside.size:
        row = int(outside[0])
        column = int(np.flatnonzero((table[row] < 0) | (table[row] > 1 + SUM_TOLERANCE))[0])
        raise DataError(
            f"{where(p, row)}: probability {table[row, column]:g} of label {p.labels[column]!r}",
            hint="probabilities lie between 0 and 1; apply a softmax to scores",
        )
    sums = table.sum(axis=1)
    off = np.flatnonzero(~absent & (np.abs(sums - 1) > SUM_TOLERANCE))
    if off.size:
        row = int(off[0])
        raise DataError(
            f"{where(p, row)}: probabilities sum to {sums[row]:.4g}, not 1"
            + (f"; {off.size - 1} other rows do not either" if off.size > 1 else ""),
            hint="write a probability for every label, normalised over the label space",
        )
    if absent.all():
        return None
    # A sum that is one up to rounding is not corrected: dividing would break ties between rows.
    rounded = ~absent & (np.abs(sums - 1) > 1e-9)
    table[rounded] /= sums[rounded, None]
    return table


def most_probable(
    table: NDArray[np.float64] | None, space: Sequence[str], source: str = "predictions"
) -> list[str | None]:
    """The label with the highest probability of each row; ``None`` for rows without any."""
    if table is None:
        raise DataError(
            f"{source}: neither predicted labels nor probabilities",
            hint="give predicted labels, probabilities, or both",
        )
    if table.ndim != 2 or table.shape[1] != len(space):
        raise DataError(
            f"{source}: probabilities have shape {table.shape} for {len(space)} labels",
            hint="one column per label, in the order of the label space",
        )
    return [None if np.isnan(row).any() else space[int(np.argmax(row))] for row in table]


def widen(
    table: NDArray[np.float64], have: Sequence[str], want: Sequence[str], *, rows: int
) -> NDArray[np.float64]:
    """Reorder a table from the labels ``have`` to ``want``; added labels get zero."""
    if table.shape != (rows, len(have)):
        raise DataError(
            f"probabilities have shape {table.shape} for {rows} rows and {len(have)} classes",
            hint="predict_proba returns one row per input and one column per class",
        )
    wide = np.zeros((rows, len(want)))
    wide[:, [list(want).index(label) for label in have]] = table
    return wide
