"""Differences B − A in each metric, with paired bootstrap intervals and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecomfs_eval.intervals import Bootstrap, Replicates, replicate_all
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic
from ecomfs_eval.metrics.score import ConfidenceInterval, Score, Undefined, Unit, format_value
from ecomfs_eval.predictions import FloatArray, Predictions


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric in both systems.

    Attributes:
        metric, title, unit, higher_is_better: as in the metric.
        a, b: the two scores, without intervals.
        delta: b − a; ``None`` when either is undefined.
        interval: paired BCa interval of delta.
        p_value: two-sided p-value of "no difference", by the bootstrap; for accuracy on
            ungrouped rows by the exact McNemar test.
        test: ``mcnemar``, ``bootstrap`` or empty.
        note: why a value is missing.
    """

    metric: str
    title: str
    unit: Unit
    higher_is_better: bool | None
    a: Score
    b: Score
    delta: float | None
    interval: ConfidenceInterval | None = None
    p_value: float | None = None
    test: str = ""
    note: str = ""

    @property
    def gain(self) -> float | None:
        """Delta with the sign changed so that positive means B is better; ``None`` where neither
        direction is better."""
        if self.delta is None or self.higher_is_better is None:
            return None
        return self.delta if self.higher_is_better else -self.delta

    @property
    def clear(self) -> bool | None:
        """Whether it is a gain (``True``) or a loss (``False``) whose interval excludes zero;
        ``None``: neither."""
        if self.interval is None or not self.gain or 0 in self.interval:
            return None
        return self.gain > 0

    def text(self) -> str:
        """Delta with sign and interval, shares in points."""
        if self.delta is None:
            return f"undefined: {self.note}"
        shown = signed(self.delta, self.unit)
        if self.interval is None:
            return shown
        low, high = signed(self.interval.low, self.unit), signed(self.interval.high, self.unit)
        return f"{shown} [{low}, {high}]"


def signed(value: float, unit: Unit) -> str:
    """A difference with its sign; shares in percentage points.

    >>> signed(0.021, "share"), signed(-0.5, "seconds"), signed(0.0, "score")
    ('+2.1', '−0.5 s', '0.000')
    """
    text = f"{100 * abs(value):.1f}" if unit == "share" else format_value(abs(value), unit)
    if float(text.split()[0].replace(",", "")) == 0:
        return text
    return ("−" if value < 0 else "+") + text


def p_text(p_value: float) -> str:
    """A p-value as text.

    >>> p_text(0.0312), p_text(1e-9)
    ('p = 0.031', 'p < 0.0001')
    """
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def differences(
    a: Predictions, b: Predictions, metrics: Sequence[Metric], how: Bootstrap
) -> tuple[Difference, ...]:
    """Differences of several metrics on paired rows, over the same resamples for both systems."""
    found: dict[str, Difference] = {}
    wanted: dict[str, Statistic] = {}
    for metric in metrics:
        x, y = metric.prepare(a), metric.prepare(b)
        left, right = metric.score(x, len(a)), metric.score(y, len(b))
        found[metric.name] = point(metric, left, right, a.name, b.name)
        if found[metric.name].delta is not None:
            assert isinstance(x, Statistic)  # it has a value
            assert isinstance(y, Statistic)
            wanted[metric.name] = minus(x, y)
    for name, (r, codes) in replicate_all(wanted, a, how).items():
        method = "bca paired" if codes is None else "bca paired cluster"
        found[name] = bootstrapped(found[name], r, how, method)
    return tuple(found.values())


def minus(x: Statistic, y: Statistic) -> Statistic:
    """The statistic of B minus that of A, with the same row weights."""

    def evaluate(weights: RowWeights) -> FloatArray:
        return y.evaluate(weights) - x.evaluate(weights)

    return replace(x, evaluate=evaluate, successes=None, heavy=x.heavy or y.heavy)


def point(metric: Metric, left: Score, right: Score, a: str, b: str) -> Difference:
    """Both scores and their difference, without an interval; ``a`` and ``b`` are names."""
    delta = None
    if left.value is not None and right.value is not None:
        delta = right.value - left.value
    reasons = {s.reason: name for s, name in ((left, a), (right, b)) if s.value is None}
    return Difference(
        metric.name,
        metric.title,
        metric.unit,
        metric.higher_is_better,
        left,
        right,
        delta,
        note="; ".join(f"{name}: {reason}" for reason, name in reasons.items()),
    )


def bootstrapped(
    d: Difference, r: Replicates | Undefined, how: Bootstrap, method: str
) -> Difference:
    """The difference with the interval and the p-value of its replicates."""
    if isinstance(r, Undefined):
        return replace(d, note=f"no interval: {r.reason}")
    interval = r.interval(how.level, method)
    return replace(d, interval=interval, p_value=r.p_value(), test="bootstrap")
