"""Two systems and metrics in; B − A with paired bootstrap intervals and p-values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecomfs_eval.intervals import Bootstrap, Evaluate, Replicates, replicate, unit_codes
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic
from ecomfs_eval.metrics.score import ConfidenceInterval, Score, Undefined, Unit, format_value
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions


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
    n = len(a)
    found: dict[str, Difference] = {}
    heavy: set[str] = set()
    wanted: dict[bytes, tuple[IntArray | None, dict[str, Evaluate]]] = {}
    for metric in metrics:
        x, y = metric.prepare(a), metric.prepare(b)
        found[metric.name] = point(metric, x, y, a, b)
        if isinstance(x, Undefined) or isinstance(y, Undefined):
            continue
        if found[metric.name].delta is not None:
            codes = unit_codes(a, x.units)
            key = b"" if codes is None else codes.tobytes()
            wanted.setdefault(key, (codes, {}))[1][metric.name] = minus(x, y)
            if x.heavy or y.heavy:
                heavy.add(metric.name)
    for codes, statistics in wanted.values():
        found |= _bootstrapped(found, replicate(statistics, n, codes, how, heavy), codes, how)
    return tuple(found.values())


def minus(x: Statistic, y: Statistic) -> Evaluate:
    """The statistic of B minus that of A, on the same weights."""

    def evaluate(weights: RowWeights) -> FloatArray:
        return y.evaluate(weights) - x.evaluate(weights)

    return evaluate


def point(
    metric: Metric,
    x: Statistic | Undefined,
    y: Statistic | Undefined,
    a: Predictions,
    b: Predictions,
) -> Difference:
    """Both scores and their difference, without an interval."""
    left, right = metric.score(x, len(a)), metric.score(y, len(b))
    delta = None
    if left.value is not None and right.value is not None:
        delta = right.value - left.value
    reasons = {s.reason: p.name for s, p in ((left, a), (right, b)) if s.value is None}
    note = "; ".join(f"{name}: {reason}" for reason, name in reasons.items())
    return Difference(
        metric.name,
        metric.title,
        metric.unit,
        metric.higher_is_better,
        left,
        right,
        delta,
        note=note,
    )


def _bootstrapped(
    found: Mapping[str, Difference],
    replicates: Mapping[str, Replicates | Undefined],
    codes: IntArray | None,
    how: Bootstrap,
) -> dict[str, Difference]:
    method = "bca paired" if codes is None else "bca paired cluster"
    results = {}
    for name, r in replicates.items():
        if isinstance(r, Undefined):
            results[name] = replace(found[name], note=f"no interval: {r.reason}")
            continue
        low, high = r.bounds(how.level)
        results[name] = replace(
            found[name],
            interval=ConfidenceInterval(low, high, how.level, method),
            p_value=r.p_value(),
            test="bootstrap",
        )
    return results
