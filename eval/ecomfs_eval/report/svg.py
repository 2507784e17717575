"""Small charts as inline SVG: lines, steps, bands, points with error bars.

Colours, strokes and text sizes come from the style sheet of the page (classes ``s0`` … ``s7``), so
one chart works in light and dark mode and its text can be selected; plotting libraries offer
neither. Every chart has a title and a description for screen readers.

>>> line = Series("A", (0.0, 0.5, 1.0), (0.0, 0.8, 1.0))
>>> drawing = chart("ROC", "one curve", Axis("fpr", 0, 1), Axis("tpr", 0, 1), [line])
>>> drawing.startswith('<svg role="img"'), drawing.count("<path")
(True, 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

WIDTH, HEIGHT = 360, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46
POINTS = 240
"""Most points of a line; more are not visible."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart.

    Attributes:
        label: what the axis shows.
        low, high: its range.
        scale: ``linear`` or ``log``.
        percent: write ticks as per cent.
        ticks: positions; by default round numbers.
    """

    label: str
    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    percent: bool = False
    ticks: tuple[float, ...] = ()

    def at(self, value: float) -> float:
        """Position of a value, from 0 (low) to 1 (high)."""
        low, high = self.low, self.high
        if self.scale == "log":
            value, low, high = math.log(value), math.log(low), math.log(high)
        return 0.5 if high == low else min(1.0, max(0.0, (value - low) / (high - low)))

    def marks(self) -> list[tuple[float, str]]:
        """Ticks and their texts."""
        found = self.ticks or round_ticks(self.low, self.high)
        return [(t, f"{100 * t:g}" if self.percent else f"{t:g}") for t in found]


@dataclass(frozen=True, slots=True)
class Series:
    """A line, step line or set of points in a chart.

    Attributes:
        name: for the description.
        xs, ys: the points.
        kind: ``line``, ``step`` (horizontal, then vertical) or ``points``.
        low, high: a band around a line, or error bars of points; empty for none.
        style: number of the colour, dash and marker, from 0.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    kind: Literal["line", "step", "points"] = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    style: int = 0


def round_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers between low and high.

    >>> round_ticks(0, 1), round_ticks(0.62, 0.91), round_ticks(3, 3)
    ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (0.7, 0.8, 0.9), (3,))
    """
    if high <= low:
        return (low,)
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) + 0.0 for i in range(first, last + 1))


def thin(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most :data:`POINTS` of the points, the ends among them."""
    n = len(xs)
    if n <= POINTS:
        return list(xs), list(ys)
    keep = sorted({round(i * (n - 1) / (POINTS - 1)) for i in range(POINTS)})
    return [xs[i] for i in keep], [ys[i] for i in keep]


def chart(
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    *,
    diagonal: bool = False,
) -> str:
    """One chart.

    Args:
        title: for screen readers.
        description: what it shows, in a sentence.
        x, y: the axes.
        series: drawn in this order.
        diagonal: also draw the diagonal.
    """
    parts = [
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" class="chart">',
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>",
        *_frame(x, y),
    ]
    if diagonal:
        corner, opposite = (_px(x, x.low), _py(y, y.low)), (_px(x, x.high), _py(y, y.high))
        parts.append(_segment(*corner, *opposite, "ideal"))
    for s in series:
        parts.extend(_points(x, y, s) if s.kind == "points" else _line(x, y, s))
    return "".join([*parts, "</svg>"])


def _px(axis: Axis, value: float) -> float:
    return LEFT + axis.at(value) * (WIDTH - LEFT - RIGHT)


def _py(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.at(value) * (HEIGHT - TOP - BOTTOM)


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _frame(x: Axis, y: Axis) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value, text in x.marks():
        at = _px(x, value)
        parts.append(_segment(at, TOP, at, bottom, "grid"))
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" class="tick middle">{text}</text>')
    for value, text in y.marks():
        at = _py(y, value)
        parts.append(_segment(LEFT, at, right, at, "grid"))
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" class="tick end">{text}</text>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 8}" class="label middle">{escape(x.label)}</text>'
    )
    across = (TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(13 {across:.0f}) rotate(-90)" class="label middle">'
        f"{escape(y.label)}</text>"
    )
    return parts


def _line(x: Axis, y: Axis, s: Series) -> list[str]:
    parts = []
    if s.low and s.high:
        up = [f"{_px(x, a):.1f},{_py(y, b):.1f}" for a, b in zip(s.xs, s.high, strict=True)]
        down = [f"{_px(x, a):.1f},{_py(y, b):.1f}" for a, b in zip(s.xs, s.low, strict=True)]
        parts.append(f'<polygon points="{" ".join(up + down[::-1])}" class="band s{s.style % 8}"/>')
    xs, ys = thin(s.xs, s.ys)
    path = [f"M{_px(x, xs[0]):.1f} {_py(y, ys[0]):.1f}"]
    for a, b in zip(xs[1:], ys[1:], strict=True):
        step = f"H{_px(x, a):.1f}V" if s.kind == "step" else f"L{_px(x, a):.1f} "
        path.append(f"{step}{_py(y, b):.1f}")
    parts.append(f'<path d="{"".join(path)}" class="line s{s.style % 8}"/>')
    if len(s.xs) <= 12:
        parts.extend(_marker(_px(x, a), _py(y, b), s.style) for a, b in zip(xs, ys, strict=True))
    return parts


def _points(x: Axis, y: Axis, s: Series) -> list[str]:
    parts = []
    for i, (a, b) in enumerate(zip(s.xs, s.ys, strict=True)):
        at = _px(x, a)
        if s.low and s.high:
            parts.append(
                _segment(at, _py(y, s.low[i]), at, _py(y, s.high[i]), f"line bar s{s.style % 8}")
            )
        parts.append(_marker(at, _py(y, b), s.style))
    return parts


def _marker(x: float, y: float, style: int) -> str:
    """Shapes differ like the colours, for readers who cannot tell these apart."""
    kind = f'class="mark s{style % 8}"'
    if style % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" {kind}/>'
    if style % 3 == 1:
        return f'<rect x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4" {kind}/>'
    return f'<path d="M{x:.1f} {y - 4.2:.1f}l4 7.4h-8z" {kind}/>'
