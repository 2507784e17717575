"""The figures of a report."""

from __future__ import annotations

from collections.abc import Sequence

from ecomfs_eval.learning_curve import AXIS, LearningCurve
from ecomfs_eval.metrics.score import Undefined, format_value
from ecomfs_eval.report.document import Figure, TableBlock
from ecomfs_eval.report.model import Report
from ecomfs_eval.report.svg import Axis, Series, chart, round_ticks
from ecomfs_eval.report.words import ReportWords

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _share(label: str, high: float = 1.0) -> Axis:
    ticks = QUARTERS if high == 1.0 else round_ticks(0, high)
    return Axis(label, 0, high, percent=True, ticks=ticks)


def _figure(
    title: str,
    words: ReportWords,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    *,
    diagonal: bool = False,
    table: TableBlock | None = None,
    note: str = "",
) -> list[Figure]:
    if not series:
        return []
    description = words("alt_curve", title=title, names=", ".join(s.name for s in series))
    svg = chart(title, description, x, y, series, diagonal=diagonal)
    return [Figure(title, svg, [(s.style, s.name) for s in series], table, note)]


def curves(report: Report, words: ReportWords) -> list[Figure]:
    """ROC, precision–recall and risk–coverage with all systems; reliability for each system."""
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
    most = min(1.0, max(0.05, 1.1 * top))
    axes = {key: _share(words(key)) for key in ("fpr", "tpr", "recall", "precision", "coverage")}
    figures = _figure(words("roc") + of, words, axes["fpr"], axes["tpr"], roc, diagonal=True)
    figures += _figure(words("pr") + of, words, axes["recall"], axes["precision"], pr)
    for one in reliable:
        # Error bars of several systems would hide each other, so each system has its own drawing.
        several = len(reliable) > 1
        title = words("reliability_of", name=one.name) if several else words("reliability")
        x, y = _share(words("mean_confidence")), _share(words("share_right"))
        figures += _figure(title, words, x, y, [one], diagonal=True)
    risks = _share(words("error_rate"), most)
    return figures + _figure(words("risk"), words, axes["coverage"], risks, risk)


def learning_curves(
    curves: Sequence[LearningCurve],
    words: ReportWords,
    first: Sequence[str] = (),
    note: str = "",
) -> list[Figure]:
    """One figure for each metric and axis, with all systems.

    Args:
        first: systems that take the first styles, so that a system looks the same in all figures.
        note: a line above each figure.
    """
    found: dict[tuple[str, str], list[LearningCurve]] = {}
    styles = {name: i for i, name in enumerate(first)}
    for c in curves:
        styles.setdefault(c.system, len(styles))
        found.setdefault((c.metric, c.axis), []).append(c)
    figures = []
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
        y = Axis(f"{title}, %" if percent else title, min(lows), max(highs), percent=percent)
        spread = sizes[0] > 0 and sizes[-1] / sizes[0] >= 8
        x = Axis(
            _axis(axis, words),
            sizes[0],
            sizes[-1],
            "log" if spread else "linear",
            ticks=_some(sizes),
        )
        table = _points(group, title, words)
        figures += _figure(title, words, x, y, series, table=table, note=note)
    return figures


def _points(curves: Sequence[LearningCurve], title: str, words: ReportWords) -> TableBlock:
    """The points of the curves as a table."""
    rows = []
    for c in curves:
        for p in c.points:
            value = words("undefined_value") if p.value is None else format_value(p.value, c.unit)
            band = ""
            if p.low is not None and p.high is not None:
                band = f"[{format_value(p.low, c.unit)}, {format_value(p.high, c.unit)}]"
            rows.append([c.system, str(p.size), value, band])
    header = [words("system"), _axis(curves[0].axis, words), title, f"{100 * curves[0].level:g} %"]
    return TableBlock(title, header, rows)


def _axis(axis: str, words: ReportWords) -> str:
    return words("axis") if axis == AXIS else axis


def _some(sizes: Sequence[float], most: int = 7) -> tuple[float, ...]:
    """Tick positions: all sizes, or some of them if there are many."""
    step = -(-len(sizes) // most)
    return tuple(sizes[::step])
