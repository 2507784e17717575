"""The decision: one line on which system to ship, from a difference and its p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ecomfs_eval.compare.differences import Difference, signed
from ecomfs_eval.metrics.score import Unit, format_value

Verdict = Literal["b better", "a better", "equivalent", "undecided"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a comparison.

    Attributes:
        verdict: ``b better``, ``a better``, ``equivalent`` (no difference above the margin) or
            ``undecided``.
        text: one line in plain words.
    """

    verdict: Verdict
    text: str


def size(value: float, unit: Unit, metric: str) -> str:
    """A difference in words: ``2.1 points of accuracy``.

    >>> size(-0.021, "share", "accuracy"), size(0.13, "nats", "log loss")
    ('2.1 points of accuracy', '0.130 of log loss')
    """
    if unit == "share":
        return f"{100 * abs(value):.1f} points of {metric}"
    return f"{format_value(abs(value), unit)} of {metric}"


def _bracket(low: float, high: float, unit: Unit) -> str:
    return f"[{signed(low, unit)}, {signed(high, unit)}]".replace("+", "")


def _but(d: Difference, b: str, cheaper: str | None) -> str:
    """A cheaper challenger and its largest plausible loss."""
    if cheaper != b or d.interval is None or d.higher_is_better is None:
        return ""
    worst = d.interval.low if d.higher_is_better else -d.interval.high
    points = " points" if d.unit == "share" else ""
    loss = signed(abs(min(worst, 0.0)), d.unit).lstrip("+")
    return f"{b} costs less and may be up to {loss}{points} worse; "


def decide(
    d: Difference,
    a: str,
    b: str,
    *,
    p_value: float | None,
    alpha: float,
    margin: float | None = None,
    cheaper: str | None = None,
    rows: int = 0,
    needed: int | None = None,
    same_rows_right: bool = False,
) -> Decision:
    """The decision on one primary difference.

    A system is better only when the p-value is at most ``alpha`` and the interval excludes zero.
    Systems are equivalent only when a margin was given and the whole interval lies within it; only
    then is the cheaper one shipped for its cost.

    Args:
        d: the difference in the primary metric.
        a, b: names.
        p_value: of the primary test, already corrected for several variants.
        alpha: the level of the decision.
        margin: the smallest difference that matters, in the metric's unit.
        cheaper: the name of the system that costs less, if one does.
        rows: rows compared.
        needed: rows needed to detect a difference of ``margin``.
        same_rows_right: both are right on the same rows, so there is nothing to test.
    """
    metric = d.title.lower() if d.title not in ("ROC AUC", "MCC") else d.title
    if d.delta is None:
        return Decision("undecided", f"Undecided: {metric} is undefined ({d.note}).")
    choice = f"{cheaper} costs less; ship {cheaper}" if cheaper else f"keep {a}"
    if same_rows_right and d.delta == 0:
        # No row in n differs: the exact upper bound of the share of rows that do (Clopper–Pearson).
        bound = 1 - (alpha / 2) ** (1 / rows)
        same = margin is not None and bound <= margin
        return Decision(
            "equivalent" if same else "undecided",
            f"No difference above {size(bound, d.unit, metric)}: {a} and {b} are right on the same "
            f"of all {rows:,} rows; {choice if same else f'keep {a}'}.",
        )
    if d.interval is None or p_value is None:
        return Decision(
            "undecided",
            f"Undecided: {b} differs from {a} by {size(d.delta, d.unit, metric)}, with "
            f"{d.note or 'no interval'}; keep {a}.",
        )
    low, high = d.interval.low, d.interval.high
    widest = max(abs(low), abs(high))
    if margin is not None and widest <= margin:
        return Decision(
            "equivalent",
            f"No difference above {size(margin, d.unit, metric)} {_bracket(low, high, d.unit)}; "
            f"{choice}.",
        )
    gain = d.gain
    if gain is not None and p_value <= alpha and not low <= 0 <= high:
        winner, loser = (b, a) if gain > 0 else (a, b)
        edges = sorted((abs(low), abs(high)))
        return Decision(
            "b better" if gain > 0 else "a better",
            f"{winner} is better than {loser} by {size(d.delta, d.unit, metric)} "
            f"{_bracket(edges[0], edges[1], d.unit)}; ship {winner}.",
        )
    points = " points" if d.unit == "share" else ""
    between = _bracket(low, high, d.unit)
    difference = f"{signed(d.delta, d.unit)}{points} of {metric} {between}"
    if margin is None:
        return Decision(
            "undecided",
            f"No difference shown: {b} − {a} is {difference}, so no difference above "
            f"{size(widest, d.unit, metric)}; {_but(d, b, cheaper)}keep {a}.",
        )
    more = (
        f"; a difference of {size(margin, d.unit, metric)} takes about {needed:,} rows, "
        f"there are {rows:,}"
        if needed is not None and needed > rows
        else ""
    )
    return Decision("undecided", f"Undecided: {b} − {a} is {difference}{more}; keep {a}.")
