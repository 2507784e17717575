"""The drawings of a report as separate files for slides: SVG, and PNG if resvg is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from ecomfs_eval.files import whole_file, write_text, writing
from ecomfs_eval.report.document import (
    Details,
    DocumentBlock,
    Figure,
    FigureGrid,
    SupportsDocument,
)
from ecomfs_eval.report.svg import HEIGHT, WIDTH

SCALE = 3
"""Pixels of a PNG for each unit of the drawing."""
_DRAWN = re.compile(
    r"\.(chart (text|\.label)|middle|end|grid|ideal|line|bar|mark|band|s\d)(?![\w-])"
)
"""Selectors of the style rules for drawings."""
_TOP, _ROW = 30, 18
_FONTS = "system-ui, Helvetica, Arial, 'Noto Sans CJK SC', 'WenQuanYi Micro Hei', sans-serif"


def figures(report: SupportsDocument) -> list[Figure]:
    """Every drawing of a report, in its order."""
    return [f for section in report.document().sections for f in _inside(section.blocks)]


def standalone_svg(figure: Figure) -> str:
    """A drawing with its title, legend and colours, independent of a page.

    >>> drawing = Figure("ROC", '<svg viewBox="0 0 360 300" class="chart"></svg>', [(0, "a<b")])
    >>> text = standalone_svg(drawing)
    >>> text.startswith('<svg xmlns="http://www.w3.org/2000/svg"'), "a&lt;b" in text, "var(" in text
    (True, True, False)
    """
    height = _TOP + HEIGHT + _ROW * len(figure.legend) + 8
    title = f"{figure.note} · {figure.title}" if figure.note else figure.title
    inner = figure.svg.replace(
        "<svg ", f'<svg x="0" y="{_TOP}" width="{WIDTH}" height="{HEIGHT}" ', 1
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{2 * WIDTH}" height="{2 * height}" font-family="{escape(_FONTS)}">',
        f"<style>{_style()}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{WIDTH / 2:g}" y="19" class="middle title">{escape(title)}</text>',
        inner,
    ]
    for row, (style, name) in enumerate(figure.legend):
        y = _TOP + HEIGHT + _ROW * row + 8
        parts.append(f'<line x1="52" y1="{y}" x2="90" y2="{y}" class="line s{style % 8}"/>')
        parts.append(f'<text x="98" y="{y + 4}" class="name">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def write_figures(report: SupportsDocument, folder: str | Path) -> tuple[Path, ...]:
    """Write every drawing as SVG, and as PNG where ``resvg_py`` is installed.

    Args:
        report: a :class:`~ecomfs_eval.report.Report` or a :class:`~ecomfs_eval.board.Board`.
        folder: where to write; created if it does not exist.

    Returns:
        The files; none for a report without drawings.

    Raises:
        WriteError: the folder cannot be written.
    """
    folder, written = Path(folder), []
    drawn = figures(report)
    with writing("the figures", folder):
        for number, figure in enumerate(drawn, 1):
            folder.mkdir(parents=True, exist_ok=True)
            text = standalone_svg(figure)
            slug = re.sub(r"[^\w]+", "-", f"{figure.note} {figure.title}".strip().lower())
            path = folder / f"{number:02d}-{slug.strip('-')[:60]}.svg"
            written.append(write_text(path, text))
            if find_spec("resvg_py") is not None:
                picture = path.with_suffix(".png")
                with whole_file(picture) as part:
                    part.write_bytes(_png(text))
                written.append(picture)
    return tuple(written)


def _png(svg: str) -> bytes:
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SCALE * WIDTH))


def _inside(blocks: Iterable[DocumentBlock]) -> Iterator[Figure]:
    for block in blocks:
        if isinstance(block, FigureGrid):
            yield from block.figures
        elif isinstance(block, Details):
            yield from _inside(block.blocks)


def _style() -> str:
    """The style rules for drawings, on white, with colours in place of variables."""
    css = (resources.files("ecomfs_eval.report") / "style.css").read_text(encoding="utf-8")
    light = css.partition("}")[0]
    colours = dict(re.findall(r"(--[\w-]+):\s*([^;]+);", light))
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", css)
    text = " ".join(
        f"{selector.strip().removeprefix('.chart ')} {{{body}}}"
        for selector, body in rules
        if _DRAWN.match(selector.strip())
    )
    text += " .title { fill: var(--ink); font-size: 13px; font-weight: 600; }"
    text += " .name { fill: var(--ink); font-size: 12px; }"
    return re.sub(r"var\((--[\w-]+)\)", lambda m: colours[m.group(1)], text)


__all__ = ["figures", "standalone_svg", "write_figures"]
