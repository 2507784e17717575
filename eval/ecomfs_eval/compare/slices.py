"""Accuracy of two systems per class and per slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecomfs_eval.compare.paired import exact_p, holm
from ecomfs_eval.intervals import Bootstrap, Evaluate, replicate, unit_codes
from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.metrics.base import mean_of
from ecomfs_eval.metrics.score import ConfidenceInterval, Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

CLASS = "class"
"""The slicing by gold label, where accuracy is the recall of the class."""

MIN_ROWS = 20
"""With fewer rows, a slice has no interval and no test: it could detect nothing, and would only
reduce the power of the others in Holm's correction."""


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """Accuracy of both systems on some of the rows.

    Attributes:
        slicing, value: which rows, such as ``language`` and ``zh``; slicing ``class`` is the
            gold label.
        n: rows.
        a, b: accuracy of each system (recall, for a class).
        delta: b − a.
        interval: paired bootstrap interval of delta.
        p_value: exact McNemar on these rows; by the bootstrap when rows are grouped; ``None``
            when the bootstrap is undefined, or for fewer than :data:`MIN_ROWS` rows.
        p_adjusted: the same after Holm over the values of the slicing.
        note: why there is no interval or no test.
    """

    slicing: str
    value: str
    n: int
    a: float
    b: float
    delta: float
    interval: ConfidenceInterval | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    note: str = ""


def slice_differences(
    a: Predictions, b: Predictions, how: Bootstrap, min_rows: int = MIN_ROWS
) -> dict[str, tuple[SliceDifference, ...]]:
    """Slicing → its values, for the classes and every slicing of the predictions."""
    slicings = {CLASS: a.gold, **a.slices}
    codes = unit_codes(a)
    x, y = correct(a), correct(b)
    found: dict[str, tuple[SliceDifference, ...]] = {}
    for slicing, values in slicings.items():
        masks = {v: np.array([w == v for w in values]) for v in sorted(set(values))}
        statistics: dict[str, Evaluate] = {
            v: mean_of(np.where(mask, y - x, np.nan)).evaluate
            for v, mask in masks.items()
            if mask.sum() >= min_rows
        }
        replicates = replicate(statistics, len(a), codes, how)
        rows = []
        for v, mask in masks.items():
            row = point(slicing, v, x[mask], y[mask])
            if row.n < min_rows:
                rows.append(replace(row, note=too_few(row.n, min_rows)))
                continue
            if codes is None:
                only_a = int((x[mask] > y[mask]).sum())
                only_b = int((x[mask] < y[mask]).sum())
                row = replace(row, p_value=exact_p(only_a, only_b))
            r = replicates[v]
            if isinstance(r, Undefined):
                row = replace(row, note=f"no interval: {r.reason}")
            else:
                row = replace(row, interval=r.interval(how.level, "bca paired"))
                if codes is not None:
                    row = replace(row, p_value=r.p_value())
            rows.append(row)
        found[slicing] = adjusted(rows)
    return found


def too_few(n: int, min_rows: int) -> str:
    """Why a slice is not tested."""
    return f"{n} rows, fewer than {min_rows}"


def point(slicing: str, value: str, x: FloatArray, y: FloatArray, n: int = 0) -> SliceDifference:
    """The accuracy of both on a slice of ``n`` rows; by default both have the same rows."""
    a, b = float(x.mean()), float(y.mean())
    return SliceDifference(slicing, value, n or len(x), a, b, b - a)


def adjusted(rows: list[SliceDifference]) -> tuple[SliceDifference, ...]:
    """The values of one slicing with Holm's correction over those that are tested."""
    tested = [r for r in rows if r.p_value is not None]
    values = {
        r.value: p for r, p in zip(tested, holm([r.p_value or 0.0 for r in tested]), strict=True)
    }
    return tuple(replace(r, p_adjusted=values.get(r.value)) for r in rows)


def by_length(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Thirds of the rows by the number of characters of their text.

    Returns:
        One name per row, with its bounds; ``None`` when the lengths are too similar for three
        parts.

    >>> by_length(["a" * n for n in (1, 2, 3, 4, 5, 6)])
    ('1: up to 2 characters', '1: up to 2 characters', '2: 3 to 4 characters',
     '2: 3 to 4 characters', '3: 5 characters or more', '3: 5 characters or more')
    >>> by_length(["same", "size"]) is None
    True
    """
    if not texts:
        return None
    lengths = np.array([len(t) for t in texts])
    low, high = (int(x) for x in np.quantile(lengths, [1 / 3, 2 / 3], method="lower"))
    if not lengths.min() <= low < high < lengths.max():
        return None
    names = (
        f"1: up to {low} characters",
        f"2: {low + 1} to {high} characters",
        f"3: {high + 1} characters or more",
    )
    return tuple(names[int(n > low) + int(n > high)] for n in lengths)
