"""Charts as one SVG file with its own style sheet and legend."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ecomfs_eval.report.svg import HEIGHT, WIDTH

_COLOURS = ("#0072b2", "#c44e00", "#00795a", "#a3448f", "#7a6000", "#2c6fbb", "#8a3b12", "#444444")
_DASHES = ("", "7 3", "3 2", "9 3 2 3", "4 2", "12 4", "1 3", "6 2 1 2 1 2")
_LEGEND = 180


def svg_file(charts: Sequence[str], names: Sequence[str], columns: int = 1) -> str:
    """Charts as a complete SVG file.

    Args:
        charts: drawings of :func:`ecomfs_eval.report.svg.chart`, placed row by row.
        names: of the series, by the number of their style.
        columns: charts in a row.
    """
    columns = min(columns, len(charts))
    width, height = columns * WIDTH, -(-len(charts) // columns) * HEIGHT
    opening = "<svg "
    placed = "".join(
        f'<svg x="{n % columns * WIDTH}" y="{n // columns * HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" overflow="visible" {chart.removeprefix(opening)}'
        for n, chart in enumerate(charts)
    )
    legend = "".join(
        f'<line x1="{width + 12}" x2="{width + 40}" y1="{24 + 20 * n}" y2="{24 + 20 * n}"'
        f' class="line s{n}"/><text x="{width + 46}" y="{28 + 20 * n}" class="label">'
        f"{escape(name)}</text>"
        for n, name in enumerate(names)
    )
    # A single chart is shown twice as large, as it would be too small in a page.
    shown = 2 * width if len(charts) == 1 else width + _LEGEND
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{shown}"'
        f' viewBox="0 0 {width + _LEGEND} {height}">{_style()}{placed}{legend}</svg>\n'
    )


def _style() -> str:
    rules = [
        "svg{background:#fff;font-family:sans-serif}text{fill:#57606a;font-size:11px}",
        ".label{fill:#1b1f24;font-size:12px}.middle{text-anchor:middle}.end{text-anchor:end}",
        ".grid{stroke:#d0d7de;stroke-width:1}",
        ".line{fill:none;stroke:currentColor;stroke-width:2}.mark{fill:currentColor}",
    ]
    for number, (colour, dash) in enumerate(zip(_COLOURS, _DASHES, strict=True)):
        rules.append(f".s{number}{{color:{colour}}}")
        if dash:
            rules.append(f".line.s{number}{{stroke-dasharray:{dash}}}")
    return f"<style>{''.join(rules)}</style>"
