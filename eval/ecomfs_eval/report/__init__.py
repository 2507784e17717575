"""A report on one or several systems: one HTML file, Markdown, JSON.

>>> from ecomfs_eval import Predictions
>>> table = [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]
>>> p = Predictions.of(["no", "yes", "yes"], probabilities=table, labels=["no", "yes"])
>>> report = build_report([p], title="Three rows")
>>> "<h1>Three rows</h1>" in render_html(report), render_markdown(report).splitlines()[0]
(True, '# Three rows')
"""

from __future__ import annotations

import json
from pathlib import Path

from ecomfs_eval.errors import OutputError
from ecomfs_eval.report.html import render_html
from ecomfs_eval.report.markdown import render_markdown
from ecomfs_eval.report.model import Report, SystemReport, WrongRow, build_report
from ecomfs_eval.report.strings import Language


def render_json(report: Report) -> str:
    """The report as JSON text: every number, with undefined ones as ``null`` and a reason."""
    return json.dumps(report.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_report(report: Report, folder: str | Path, stem: str = "report") -> tuple[Path, ...]:
    """Write ``stem.html``, ``stem.md`` and ``stem.json`` into a folder, made if need be.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, render in (
            (".html", render_html),
            (".md", render_markdown),
            (".json", render_json),
        ):
            path = folder / f"{stem}{suffix}"
            path.write_text(render(report), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write the report: {error.strerror or error}",
            hint="choose a folder you may write to",
        ) from error
    return tuple(written)


__all__ = [
    "Language",
    "Report",
    "SystemReport",
    "WrongRow",
    "build_report",
    "render_html",
    "render_json",
    "render_markdown",
    "write_report",
]
