"""The metric: one definition for the value, its bootstrap and its comparisons.

A metric turns predictions into a :class:`Statistic`: a function from row weights to values.
Weights of one give the metric itself; counts of how often a row was drawn give a bootstrap
replicate; a zero leaves a row out. One call computes many weightings, so 2,000 replicates of
thirty metrics take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.score import Score, Undefined, Unit
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions
from ecomfs_eval.structure import NOT_FOR, LabelKind

MANY_LABELS = 10
"""With more labels, a statistic that needs one pass per label is heavy."""

_ANY = ("labels", "measurements")
"""What a metric may need of labels of any kind."""
_OWN = ("hierarchy", "sets")
"""What only labels of this kind have."""

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
        heavy: it needs one pass over the rows for each of many labels, so its interval uses
            fewer resamples.
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

    Attributes
    ----------
    name
        In options and files.
    title
        In reports.
    definition
        One sentence, with the formula.
    source
        Of the definition.
    compute
        Predictions → the statistic, or why there is none.
    unit, higher_is_better
        As in :class:`~ecomfs_eval.metrics.score.Score`.
    needs
        What the predictions must have: ``labels``, ``one label`` a row, a ``hierarchy``, ``sets``
        of labels, ``probabilities``, ``queries`` or ``measurements``.

    Examples
    --------
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

    def __call__(self, p: Predictions) -> Score:
        """The metric on all rows, without an interval (see :func:`ecomfs_eval.score`)."""
        return self.score(self.prepare(p), len(p))

    def prepare(self, p: Predictions) -> Statistic | Undefined:
        """The statistic, or why there is none."""
        return self.compute(p) if self.applies(p.kind) else Undefined(NOT_FOR[p.kind])

    def applies(self, kind: LabelKind) -> bool:
        """Whether it is defined for labels of this kind."""
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


def with_distribution(p: Predictions) -> tuple[FloatArray, IntArray, str] | Undefined:
    """Positions of the rows with probabilities, these probabilities, and a note on rows left
    out; or why there are none."""
    rows = np.flatnonzero(p.has_distribution)
    if p.probabilities is None or rows.size == 0:
        return Undefined("no row has probabilities")
    left_out = len(p) - rows.size
    note = f"{left_out} of {len(p)} rows have no probabilities and are left out" if left_out else ""
    return p.probabilities[rows], rows.astype(np.int64), note
