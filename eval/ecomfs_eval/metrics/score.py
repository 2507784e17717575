"""The result of a metric: a value with its interval, or ``None`` with the reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Unit = Literal["share", "score", "nats", "seconds", "tokens", "money"]


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A confidence interval.

    Attributes:
        low, high: the bounds, in the unit of the metric.
        level: nominal coverage, such as 0.95.
        method: ``wilson``, ``bca``, ``newcombe``, ``confidence sequence``, …; ``cluster`` is added
            where whole groups were resampled.

    >>> 0.9 in ConfidenceInterval(0.7, 0.97, 0.95, "wilson")
    True
    """

    low: float
    high: float
    level: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Undefined:
    """The result of a metric that has no value.

    Attributes:
        reason: why there is no value.

    >>> from ecomfs_eval import Predictions, roc_curve
    >>> roc_curve(Predictions.of(["a", "b"], ["a", "b"]))
    Undefined(reason='no row has probabilities')
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one set of predictions.

    Attributes:
        name: name of the metric, such as ``f1_macro``.
        value: the value; ``None`` when it is undefined.
        reason: why ``value`` is ``None``; empty otherwise.
        n: rows (or ranked lists) that the value is computed on.
        unit: ``share`` (0 to 1), ``score`` (no unit), ``nats``, ``seconds``, ``tokens`` or
            ``money``.
        higher_is_better: ``None`` where neither direction is better.
        interval: confidence interval; ``None`` when it was not computed or is undefined.
        note: caveats: rows left out, why there is no interval.

    >>> Score("mcc", None, reason="only one class in gold").text()
    'undefined: only one class in gold'
    >>> i = ConfidenceInterval(0.49, 0.94, 0.95, "wilson")
    >>> Score("accuracy", 0.8, n=10, unit="share", interval=i).text()
    '80.0 % [49.0, 94.0]'
    """

    name: str
    value: float | None
    reason: str = ""
    n: int = 0
    unit: Unit = "score"
    higher_is_better: bool | None = True
    interval: ConfidenceInterval | None = None
    note: str = ""

    def noted(self, note: str) -> Score:
        """The same score with one more note."""
        return replace(self, note="; ".join(x for x in (self.note, note) if x))

    def text(self) -> str:
        """The value with its interval, or the reason, as text."""
        if self.value is None:
            return f"undefined: {self.reason}"
        shown = format_value(self.value, self.unit).replace("-", "−")
        if self.interval is None:
            return shown
        low, high = (
            format_value(x, self.unit).removesuffix(" %").replace("-", "−")
            for x in (self.interval.low, self.interval.high)
        )
        return f"{shown} [{low}, {high}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def format_value(value: float, unit: Unit) -> str:
    """A value as text: shares in per cent, counts without decimals.

    >>> format_value(0.1234, "share"), format_value(0.1234, "score"), format_value(1234.5, "tokens")
    ('12.3 %', '0.123', '1,234')
    >>> format_value(0.0042, "money"), format_value(0.25, "seconds")
    ('0.0042', '0.25 s')
    """
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "tokens":
        return f"{value:,.0f}"
    if unit == "seconds":
        return f"{value:.3g} s"
    if unit == "money":
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.3f}"
