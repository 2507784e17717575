"""Risk–coverage curve and the area under it: error rate against the share of answered rows.

Rows are taken from the most to the least confident (highest probability). At coverage c the risk
is the error rate of the rows taken so far. For rows of equal confidence, the expectation over
random orders is computed. A row counts as wrong when its answer (or, where the system abstained,
its most probable label) is not the gold one.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "a", "a", "b"], probabilities=[[.9, .1], [.8, .2], [.3, .7], [.4, .6]])
>>> risk_coverage_curve(p).risk.round(3).tolist()
[0.0, 0.0, 0.333, 0.25]
>>> round(aurc(p).value, 4)
0.1458
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, ratio, with_distribution
from ecomfs_eval.metrics.ranked import Ranking
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions

_SOURCE = "El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017, arXiv:1705.08500"


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """Attributes:
    coverage: share of rows taken, one point per distinct confidence.
    risk: error rate among them.
    thresholds: the confidence at or above which rows are taken.
    """

    coverage: FloatArray
    risk: FloatArray
    thresholds: FloatArray

    def coverage_at(self, risk: float) -> tuple[float, float] | None:
        """The largest coverage with at most this risk, and its threshold; ``None`` if none has.

        >>> RiskCoverage(np.array([.5, 1.]), np.array([.1, .2]), np.array([.9, .6])).coverage_at(.1)
        (0.5, 0.9)
        """
        fits = np.flatnonzero(self.risk <= risk)
        if not fits.size:
            return None
        return float(self.coverage[fits[-1]]), float(self.thresholds[fits[-1]])


def _errors(p: Predictions) -> tuple[FloatArray, FloatArray, IntArray, str] | Undefined:
    """Confidence, whether wrong, row positions and note."""
    got = with_distribution(p)
    if isinstance(got, Undefined):
        return got
    table, rows, note = got
    where = {label: i for i, label in enumerate(p.labels)}
    given = np.array([-1 if a is None else where[a] for a in p.predicted])[rows]
    answer = np.where(given < 0, table.argmax(axis=1), given)
    return table.max(axis=1), (answer != p.gold_index[rows]).astype(np.float64), rows, note


def risk_coverage_curve(p: Predictions) -> RiskCoverage | Undefined:
    """The curve: one point per distinct confidence.

    Examples
    --------
    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of(["a", "b"], probabilities=[[0.9, 0.1], [0.6, 0.4]])
    >>> curve = risk_coverage_curve(p)
    >>> curve.coverage.tolist(), curve.risk.tolist()
    ([0.5, 1.0], [0.0, 0.5])
    """
    got = _errors(p)
    if isinstance(got, Undefined):
        return got
    confidence, wrong, rows, _ = got
    ranking = Ranking(confidence, rows)
    weights = np.ones((1, len(p)))
    taken = ranking.sums(weights)[0].cumsum()
    lost = ranking.sums(weights, wrong)[0].cumsum()
    return RiskCoverage(taken / rows.size, lost / taken, ranking.values)


def _prepare(p: Predictions) -> Statistic | Undefined:
    got = _errors(p)
    if isinstance(got, Undefined):
        return got
    confidence, wrong, rows, note = got
    ranking = Ranking(confidence, rows)

    def evaluate(weights: RowWeights) -> FloatArray:
        from scipy.special import digamma

        size = ranking.sums(weights)
        lost = ranking.sums(weights, wrong)
        after = size.cumsum(axis=1)
        before = after - size
        rate = np.nan_to_num(ratio(lost, size))
        base = lost.cumsum(axis=1) - lost - rate * before
        # Within a group of ties the expected errors grow linearly, so the sum of risks
        # Σ (base + rate·i)/i has a closed form in harmonic numbers.
        risk = rate * size + base * (digamma(after + 1) - digamma(before + 1))
        return ratio(risk.sum(axis=1), after[:, -1])

    return Statistic(evaluate, rows.size, note)


aurc = Metric(
    "aurc",
    "Area under risk–coverage",
    "mean over the coverages 1/n … n/n of the error rate among the most confident rows",
    _SOURCE,
    _prepare,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
)
