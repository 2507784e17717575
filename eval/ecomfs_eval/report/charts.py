"""The drawings of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs_eval.learning_curve import LearningCurve
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.report.model import Report
from ecomfs_eval.report.strings import Words
from ecomfs_eval.report.svg import Axis, Series, chart, round_ticks

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Attributes:
    title: above the drawing.
    svg: the drawing.
    legend: (style, name) of what is in it.
    """

    title: str
    svg: str
    legend: tuple[tuple[int, str], ...]


def _share(label: str, high: float = 1.0) -> Axis:
    ticks = QUARTERS if high == 1.0 else round_ticks(0, high)
    return Axis(label, 0, high, percent=True, ticks=ticks)


def _drawing(
    title: str, words: Words, x: Axis, y: Axis, series: Sequence[Series], *, diagonal: bool = False
) -> list[Drawing]:
    if not series:
        return []
    names = ", ".join(s.name for s in series)
    svg = chart(
        title, words("alt_curve", title=title, names=names), x, y, series, diagonal=diagonal
    )
    return [Drawing(title, svg, tuple((s.style, s.name) for s in series))]


def curves(report: Report, words: Words) -> list[Drawing]:
    """ROC, precision–recall, reliability and risk–coverage, all systems in each."""
    roc, pr, reliable, risk = [], [], [], []
    positive = report.systems[0].summary.positive
    for i, s in enumerate(report.systems):
        if not isinstance(s.roc, Undefined):
            roc.append(Series(s.name, s.roc.fpr.tolist(), s.roc.tpr.tolist(), "line", style=i))
        if not isinstance(s.pr, Undefined):
            recall, precision = s.pr.recall.tolist(), s.pr.precision.tolist()
            pr.append(Series(s.name, [0.0, *recall], [precision[0], *precision], "step", style=i))
        if not isinstance(s.reliability, Undefined):
            bins = s.reliability
            reliable.append(
                Series(
                    s.name,
                    [b.confidence for b in bins],
                    [b.accuracy for b in bins],
                    "points",
                    [b.interval.low for b in bins],
                    [b.interval.high for b in bins],
                    style=i,
                )
            )
        if not isinstance(s.risk, Undefined):
            risk.append(
                Series(s.name, s.risk.coverage.tolist(), s.risk.risk.tolist(), "line", style=i)
            )
    of = f" ({words('of_class', label=positive)})" if positive is not None else ""
    top = max((max(s.ys) for s in risk), default=1.0)
    return [
        *_drawing(
            words("roc") + of, words, _share(words("fpr")), _share(words("tpr")), roc, diagonal=True
        ),
        *_drawing(words("pr") + of, words, _share(words("recall")), _share(words("precision")), pr),
        *_drawing(
            words("reliability"),
            words,
            _share(words("mean_confidence")),
            _share(words("share_right")),
            reliable,
            diagonal=True,
        ),
        *_drawing(
            words("risk"),
            words,
            _share(words("coverage")),
            _share(words("error_rate"), min(1.0, max(0.05, 1.1 * top))),
            risk,
        ),
    ]


def learning(report: Report, words: Words) -> list[Drawing]:
    """The report's learning curves; a system looks as it does in the other drawings."""
    return learning_curves(report.curves, words, [s.name for s in report.systems])


def learning_curves(
    curves: Sequence[LearningCurve], words: Words, first: Sequence[str] = ()
) -> list[Drawing]:
    """One drawing for each metric and axis, all systems in each.

    Args:
        first: systems that have the first styles.
    """
    found: dict[tuple[str, str], list[LearningCurve]] = {}
    styles = {name: i for i, name in enumerate(first)}
    for c in curves:
        styles.setdefault(c.system, len(styles))
    for c in curves:
        found.setdefault((c.metric, c.axis), []).append(c)
    drawings = []
    for (metric, axis), group in found.items():
        series = []
        for c in group:
            points = [p for p in c.points if p.value is not None]
            if not points:
                continue
            banded = all(p.low is not None and p.high is not None for p in points)
            series.append(
                Series(
                    c.system,
                    [p.size for p in points],
                    [p.value or 0.0 for p in points],
                    "line",
                    [p.low or 0.0 for p in points] if banded else (),
                    [p.high or 0.0 for p in points] if banded else (),
                    style=styles[c.system],
                )
            )
        if not series:
            continue
        title = words.metric(metric, group[0].title)
        sizes = sorted({x for s in series for x in s.xs})
        lows = [v for s in series for v in (*s.ys, *s.low)]
        highs = [v for s in series for v in (*s.ys, *s.high)]
        percent = group[0].unit == "share"
        low, high = min(lows), max(highs)
        y = Axis(f"{title}, %" if percent else title, low, high, percent=percent)
        spread = sizes[0] > 0 and sizes[-1] / sizes[0] >= 8
        x = Axis(axis, sizes[0], sizes[-1], "log" if spread else "linear", ticks=_some(sizes))
        drawings += _drawing(title, words, x, y, series)
    return drawings


def _some(sizes: Sequence[float], most: int = 7) -> tuple[float, ...]:
    """The sizes themselves as ticks, or a few of many."""
    step = -(-len(sizes) // most)
    return tuple(sizes[::step])
