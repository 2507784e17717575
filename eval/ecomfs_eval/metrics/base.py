"""The metric: one definition for the value, its bootstrap and its comparisons.

A metric turns predictions into a :class:`Statistic`: a function from row weights to values.
Weights of one give the metric itself; counts of how often a row was drawn give a bootstrap
replicate; a zero leaves a row out. One call computes many weightings, so 2,000 replicates of
thirty metrics take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from ecomfs_eval.metrics.score import Score, Undefined, Unit
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions
from ecomfs_eval.structure import NOT_FOR, LabelKind

MANY_LABELS = 10
"""With more labels, a statistic that needs one pass per label is heavy."""

_ANY = ("labels", "measurements")
"""Requirements of a metric that labels of any kind can meet."""
_OWN = ("hierarchy", "sets")
"""Requirements that only labels of this kind meet."""

RowWeights = FloatArray
"""B × n row weights, none negative: B weightings of n rows."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A metric bound to one set of predictions.

    Attributes:
        evaluate: B × n weights → B values, ``nan`` where the weighted rows leave it undefined.
        n: rows, or ranked lists, it is computed on.
        note: a caveat, such as rows left out.
        successes: the count of hits when the value is a plain proportion of ``n`` rows (then
            the Wilson interval applies); else ``None``.
        units: n codes of the sampled unit, when that is never the row (ranked lists).
        heavy: whether it needs one pass over the rows for each of many labels; its interval then
            uses fewer resamples.
    """

    evaluate: Callable[[RowWeights], FloatArray]
    n: int
    note: str = ""
    successes: int | None = None
    units: IntArray | None = None
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric; call it on predictions.

    Attributes:
        name: name in options and files.
        title: title in reports.
        definition: one sentence, with the formula.
        source: reference of the definition.
        compute: predictions → the statistic, or why there is none.
        unit, higher_is_better: as in :class:`~ecomfs_eval.metrics.Score`.
        needs: what the predictions must have: ``labels``, ``one label`` per row, a ``hierarchy``,
            ``sets`` of labels, ``probabilities``, ``queries`` or ``measurements``.
        title_zh: in Chinese reports; empty: ``title``.

    >>> from ecomfs_eval import METRICS, Predictions
    >>> METRICS["accuracy"](Predictions.of(["a", "b"], ["a", "a"])).value
    0.5
    """

    name: str
    title: str
    definition: str
    source: str
    compute: Callable[[Predictions], Statistic | Undefined]
    unit: Unit = "share"
    higher_is_better: bool | None = True
    needs: str = "labels"
    title_zh: str = ""

    def __call__(self, p: Predictions) -> Score:
        """The metric on all rows, without an interval (see :func:`ecomfs_eval.score`)."""
        return self.score(self.prepare(p), len(p))

    def prepare(self, p: Predictions) -> Statistic | Undefined:
        """The statistic, or why there is none."""
        return self.compute(p) if self.applies(p.kind) else Undefined(NOT_FOR[p.kind])

    def applies(self, kind: LabelKind) -> bool:
        """Whether the metric is defined for labels of this kind."""
        return self.needs in _ANY or (kind == self.needs if self.needs in _OWN else kind != "sets")

    def score(self, prepared: Statistic | Undefined, rows: int) -> Score:
        """The point value of a prepared statistic over ``rows`` rows."""
        if isinstance(prepared, Undefined):
            return self.undefined(prepared.reason)
        value = float(prepared.evaluate(np.ones((1, rows)))[0])
        if np.isnan(value):
            return self.undefined("the rows leave it undefined (division by zero)")
        return Score(
            name=self.name,
            value=value,
            n=prepared.n,
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            note=prepared.note,
        )

    def undefined(self, reason: str) -> Score:
        """A score without a value, with the reason."""
        return Score(
            name=self.name,
            value=None,
            reason=reason,
            unit=self.unit,
            higher_is_better=self.higher_is_better,
        )


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """top / bottom; ``nan`` where bottom is zero."""
    out = np.full(np.broadcast(top, bottom).shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out


def mean_of(values: FloatArray, note: str = "", *, proportion: bool = False) -> Statistic:
    """The weighted mean of n row values; rows with ``nan`` are left out."""
    there = (~np.isnan(values)).astype(np.float64)
    filled = np.where(there > 0, values, 0.0)

    def evaluate(weights: RowWeights) -> FloatArray:
        return ratio(weights @ filled, weights @ there)

    count = int(there.sum())
    return Statistic(evaluate, count, note, round(filled.sum()) if proportion else None)


class Ranking:
    """Positions ``rows`` sorted by ``scores``; equal scores form one group.

    Attributes:
        values: U distinct scores in the sorting order.
    """

    def __init__(self, scores: FloatArray, rows: IntArray, *, descending: bool = True) -> None:
        order = np.argsort(-scores if descending else scores, kind="stable")
        ordered = scores[order]
        self._starts = np.flatnonzero(np.r_[True, np.diff(ordered) != 0])
        self._order = order
        self._rows = rows[order]
        self.values: FloatArray = ordered[self._starts]

    def sums(self, weights: RowWeights, row_values: FloatArray | None = None) -> FloatArray:
        """B × U sums of weight (times a value of each of the ranked rows) over each group."""
        picked = weights[:, self._rows]
        if row_values is not None:
            picked *= row_values[self._order]  # fancy indexing copied the weights
        return np.add.reduceat(picked, self._starts, axis=1)

    def of_some(self, weights: RowWeights, chosen: FloatArray) -> tuple[FloatArray, IntArray]:
        """Sums over the chosen rows only: B × V, and their V groups, in order.

        With few chosen rows (one label of many) this is far cheaper than a sum over all.
        """
        places = np.flatnonzero(chosen[self._order])
        group = np.searchsorted(self._starts, places, side="right") - 1
        at, first = np.unique(group, return_index=True)
        return np.add.reduceat(weights[:, self._rows[places]], first, axis=1), at


def left_out(missing: int, rows: int, what: str) -> str:
    """A note on the rows left out; empty if there are none."""
    return f"{missing} of {rows} rows {what} and are left out" if missing else ""


@dataclass(frozen=True, slots=True, eq=False)
class Distributions:
    """The rows that have probabilities.

    Attributes:
        p: the predictions, n rows.
        rows: the positions of the m rows that have probabilities.
        table: their m × L probabilities.
        gold: m positions of their gold labels.
        note: on the rows left out.
    """

    p: Predictions
    rows: IntArray
    table: FloatArray
    gold: IntArray
    note: str

    def mean_of(self, values: FloatArray, note: str = "") -> Statistic:
        """The weighted mean of m values."""
        of_all = np.full(len(self.p), np.nan)
        of_all[self.rows] = values
        return mean_of(of_all, "; ".join(x for x in (self.note, note) if x))


P = ParamSpec("P")
T = TypeVar("T")


def on_distributions(
    compute: Callable[Concatenate[Distributions, P], T],
) -> Callable[Concatenate[Predictions, P], T | Undefined]:
    """Turn a function of :class:`Distributions` into one of predictions, which is undefined if no
    row has probabilities."""

    @wraps(compute)
    def of_predictions(p: Predictions, /, *args: P.args, **kwargs: P.kwargs) -> T | Undefined:
        rows = np.flatnonzero(p.has_distribution).astype(np.int64)
        if p.probabilities is None or rows.size == 0:
            return Undefined("no row has probabilities")
        note = left_out(len(p) - rows.size, len(p), "have no probabilities")
        table, gold = p.probabilities[rows], p.gold_index[rows]
        return compute(Distributions(p, rows, table, gold, note), *args, **kwargs)

    return of_predictions
