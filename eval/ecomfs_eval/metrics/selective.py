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

from ecomfs_eval.metrics.base import (
    Distributions,
    Metric,
    Ranking,
    RowWeights,
    Statistic,
    on_distributions,
    ratio,
)
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

_SOURCE = "El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017, arXiv:1705.08500"


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """A risk–coverage curve.

    Attributes:
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


def _ranked(d: Distributions) -> tuple[Ranking, FloatArray]:
    """The rows by confidence, and whether each is wrong."""
    where = {label: i for i, label in enumerate(d.p.labels)}
    given = np.array([-1 if a is None else where[a] for a in d.p.predicted])[d.rows]
    answer = np.where(given < 0, d.table.argmax(axis=1), given)
    return Ranking(d.table.max(axis=1), d.rows), (answer != d.gold).astype(np.float64)


def risk_coverage_curve(p: Predictions) -> RiskCoverage | Undefined:
    """The curve: one point per distinct confidence.

    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of(["a", "b"], probabilities=[[0.9, 0.1], [0.6, 0.4]])
    >>> curve = risk_coverage_curve(p)
    >>> curve.coverage.tolist(), curve.risk.tolist()
    ([0.5, 1.0], [0.0, 0.5])
    """
    return _curve(p)


@on_distributions
def _curve(d: Distributions) -> RiskCoverage:
    ranking, wrong = _ranked(d)
    weights = np.ones((1, len(d.p)))
    taken = ranking.sums(weights)[0].cumsum()
    lost = ranking.sums(weights, wrong)[0].cumsum()
    return RiskCoverage(taken / d.rows.size, lost / taken, ranking.values)


@on_distributions
def _prepare(d: Distributions) -> Statistic:
    ranking, wrong = _ranked(d)

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

    return Statistic(evaluate, d.rows.size, d.note)


aurc = Metric(
    "aurc",
    "Area under risk–coverage",
    "mean over the coverages 1/n … n/n of the error rate among the most confident rows",
    _SOURCE,
    _prepare,
    unit="score",
    higher_is_better=False,
    needs="probabilities",
    title_zh="风险–覆盖率曲线下面积",
)
