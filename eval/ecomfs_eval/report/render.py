"""Renders a report as one HTML page (no script, nothing loaded, readable on a phone), as Markdown
without drawings (for a commit or a ticket), and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from ecomfs_eval.files import write_text, writing
from ecomfs_eval.report.document import (
    BulletList,
    Details,
    DocumentBlock,
    FigureGrid,
    Heading,
    Paragraph,
    RowList,
    SupportsDocument,
    TableBlock,
    TermList,
)

PROMPTS = 6
"""Rows of a list whose prompts are printed; the HTML page has those of all listed rows."""

SHORT = 80
"""Longest text of a table cell that shows a row's input."""


def write_report(
    report: SupportsDocument, folder: str | Path, stem: str = "report"
) -> tuple[Path, ...]:
    """Write ``stem.html``, ``stem.md`` and ``stem.json``.

    Args:
        report: a :class:`Report` or a :class:`~ecomfs_eval.board.Board`.
        folder: where to write; created if it does not exist.
        stem: name of the files without the suffix.

    Returns:
        The three files.

    Raises:
        WriteError: the folder cannot be written.

    >>> import tempfile
    >>> from ecomfs_eval import Bootstrap, Predictions
    >>> from ecomfs_eval.report import build_report
    >>> p = Predictions.of(["a", "b"] * 5, ["a", "b"] * 5)
    >>> report = build_report([p], how=Bootstrap(resamples=100))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_report(report, folder)]
    ['report.html', 'report.md', 'report.json']
    """
    folder = Path(folder)
    texts = {
        f"{stem}.html": render_html(report),
        f"{stem}.md": render_markdown(report),
        f"{stem}.json": render_json(report),
    }
    with writing("the report", folder):
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(write_text(folder / name, text) for name, text in texts.items())


def render_html(report: SupportsDocument) -> str:
    """A report as an HTML page.

    The page holds no script and its content security policy forbids loading anything. Every
    text of the data is escaped.

    Args:
        report: a :class:`~ecomfs_eval.report.Report` or a :class:`~ecomfs_eval.board.Board`.

    >>> from ecomfs_eval import Bootstrap, Predictions
    >>> from ecomfs_eval.report import build_report
    >>> p = Predictions.of(["a", "b"] * 5, ["a", "b"] * 5, name="<A>")
    >>> page = render_html(build_report([p], how=Bootstrap(resamples=100)))
    >>> "<script" in page, "&lt;A&gt;" in page
    (False, True)
    """
    folder = resources.files("ecomfs_eval.report")
    document = report.document()
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        document=document,
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        lang="zh-CN" if document.language == "zh" else "en",
        comma="，" if document.language == "zh" else ", ",
        kind=lambda block: type(block).__name__,
        markup=Markup,
    )


def render_json(report: SupportsDocument) -> str:
    """A report as JSON text: every number; undefined ones are ``null`` with a reason.

    Args:
        report: a :class:`Report` or a :class:`~ecomfs_eval.board.Board`.

    >>> from ecomfs_eval import Bootstrap, Predictions
    >>> from ecomfs_eval.report import build_report
    >>> p = Predictions.of(["a", "b"] * 5, ["a", "b"] * 5)
    >>> text = render_json(build_report([p], how=Bootstrap(resamples=100)))
    >>> json.loads(text)["systems"][0]["scores"]["accuracy"]["value"]
    1.0
    """
    return json.dumps(report.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def render_markdown(report: SupportsDocument) -> str:
    """A report as Markdown text.

    Args:
        report: a :class:`~ecomfs_eval.report.Report` or a :class:`~ecomfs_eval.board.Board`.

    >>> from ecomfs_eval import Bootstrap, Predictions
    >>> from ecomfs_eval.report import build_report
    >>> p = Predictions.of(["a", "b"] * 5, ["a", "b"] * 5, name="A|1")
    >>> text = render_markdown(build_report([p], title="Ten rows", how=Bootstrap(resamples=100)))
    >>> text.splitlines()[0], "A\\\\|1" in text
    ('# Ten rows', True)
    """
    document = report.document()
    lines = [f"# {escape(document.title)}", ""]
    for line in document.intro:
        lines += [escape(line), ""]
    for section in document.sections:
        body = _blocks(section.blocks)
        if body:  # a section of drawings alone has nothing to print here
            lines += [f"## {escape(section.title)}", "", *body]
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """Text on one line, escaped so that it cannot change the Markdown around it.

    >>> escape("a|b\\n*c*")
    'a\\\\|b \\\\*c\\\\*'
    """
    flat = " ".join(text.split())
    for sign in "\\|*_`[":
        flat = flat.replace(sign, "\\" + sign)
    return flat.replace("<", "&lt;")


def _blocks(blocks: Iterable[DocumentBlock]) -> list[str]:
    return [line for block in blocks for line in _block(block)]


def _block(block: DocumentBlock) -> list[str]:
    if isinstance(block, Heading):
        return [f"### {escape(block.text)}", ""]
    if isinstance(block, Paragraph):
        text = escape(block.text)
        return [f"**{text}**" if block.style == "decision" else text, ""]
    if isinstance(block, BulletList):
        return [*(f"- {escape(item)}" for item in block.items), ""]
    if isinstance(block, TermList):
        lines = [
            f"- {escape(term)}: {escape(' '.join(x for x in (text, source) if x))}"
            for term, text, source in block.items
        ]
        return [*lines, ""]
    if isinstance(block, Details):
        return [f"### {escape(block.title)}", "", *_blocks(block.blocks)]
    if isinstance(block, TableBlock):
        return _table(block)
    if isinstance(block, FigureGrid):
        tables = [(f"{f.note} · {f.title}" if f.note else f.title, f.table) for f in block.figures]
        return [
            line
            for title, table in tables
            if table is not None
            for line in (f"### {escape(title)}", "", *_table(table))
        ]
    return _rows(block)


def _table(block: TableBlock) -> list[str]:
    rows = []
    for row in block.cells():
        line: list[str] = []
        for c in row:
            line += [" ".join(x for x in (c.text, c.detail) if x), *[""] * (c.span - 1)]
        rows.append(line)
    caption = [escape(block.caption), ""] if block.caption else []
    return [*caption, *_lines(block.header, rows)]


def _lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(map(escape, cells)) + " |"

    return [line(header), "|" + "---|" * len(header), *map(line, rows), ""]


def _rows(block: RowList) -> list[str]:
    """A table of the rows; then the prompts of the first of them."""
    if not block.entries:
        return []
    rows = []
    for e in block.entries:
        text = " ".join(e.panels[0].texts.get("text", "").split())
        rows.append(
            [e.id, e.tag, *e.values, text if len(text) <= SHORT else text[: SHORT - 1] + "…"]
        )
    lines = _lines(["id", "", *block.columns, ""], rows)
    for e in block.entries[:PROMPTS]:
        for panel in e.panels:
            if prompt := panel.texts.get("prompt"):
                name = ", ".join(x for x in (e.id, panel.title) if x)
                lines += [escape(name), "", *_fenced(prompt), ""]
    return lines


def _fenced(text: str) -> list[str]:
    """Verbatim text in a fenced block that the text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text.rstrip("\n"), fence]
