"""Predictions as scikit-learn's arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import InputError, RowError
from ecomfs.task import GivenLabels, label_text
from ecomfs.types import Prediction

SHOWN = 5


def labels_of(
    predictions: Sequence[Prediction], given: Mapping[str, Any], classes: NDArray[Any]
) -> NDArray[Any]:
    """Labels, shape (n,), of the type of ``classes``; ``None`` and dtype object where a row has
    none and labels are text.

    Args:
        given: label in the label space → label as the caller gave it, in the order of
            ``classes``.

    Raises:
        RowError: a row has none, and labels are numbers or booleans.
    """
    place = {name: at for at, name in enumerate(given)}
    found = [None if p.label is None else place[p.label] for p in predictions]
    none = [row for row, at in enumerate(found) if at is None]
    if not none:
        return classes[np.array(found, dtype=np.intp)]
    if classes.dtype.kind in "biuf":
        shown = ", ".join(str(row) for row in none[:SHOWN]) + (", …" if len(none) > SHOWN else "")
        first = predictions[none[0]]
        raise RowError(
            f"{len(none)} of {len(found)} rows have no label (rows {shown}; the first: "
            f"{first.error or first.note})",
            hint="classify gives every row with its status; labels that are numbers have no None",
        )
    values = classes.tolist() if classes.dtype.kind != "O" else list(classes)
    out = np.empty(len(found), dtype=object)
    out[:] = [None if at is None else values[at] for at in found]
    return out


def probabilities_of(
    predictions: Sequence[Prediction], given: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Probabilities, shape (n, number of labels), columns in the order of ``given``; NaN for a row
    that failed."""
    table = [[p.probabilities.get(name, np.nan) for name in given] for p in predictions]
    return np.array(table, dtype=np.float64).reshape(len(predictions), len(given))


def accuracy(
    predictions: Sequence[Prediction], given: Mapping[str, Any], y: Iterable[Any], weight: Any
) -> float:
    """Share of rows with the right label; rows without a label are wrong, and so are all that
    have no true label.

    Args:
        weight: of each row; ``None``: all alike.

    Raises:
        InputError: labels or weights differ in number from the rows.
    """
    truth = GivenLabels.of(y, "y").texts
    if len(truth) != len(predictions):
        raise InputError(f"{len(predictions)} rows but {len(truth)} labels")
    named = {name: label_text(value) for name, value in given.items()}
    right = [
        p.label is not None and named[p.label] == label
        for p, label in zip(predictions, truth, strict=True)
    ]
    return weighted_mean(right, weight)


def weighted_mean(right: Sequence[bool], weight: Any) -> float:
    """Share of true ones; NaN of none.

    >>> weighted_mean([True, False], None), weighted_mean([True, False], [3, 1])
    (0.5, 0.75)
    """
    if weight is not None and len(weight) != len(right):
        raise InputError(f"{len(right)} rows but {len(weight)} weights")
    if not right:
        raise InputError("no rows to score", hint="give at least one")
    return float(np.average(right, weights=weight))


__all__ = ["accuracy", "labels_of", "probabilities_of", "weighted_mean"]
