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

from ecomfs_eval._files import write_texts
from ecomfs_eval.report.html import render_html
from ecomfs_eval.report.markdown import render_markdown
from ecomfs_eval.report.model import Report, SystemReport, WrongRow, build_report
from ecomfs_eval.report.strings import ReportLanguage


def render_json(report: Report) -> str:
    """The report as JSON text: every number, with undefined ones as ``null`` and a reason."""
    return json.dumps(report.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_report(report: Report, folder: str | Path, stem: str = "report") -> tuple[Path, ...]:
    """Write ``stem.html``, ``stem.md`` and ``stem.json`` into a folder, made if need be.

    Raises:
        WriteError: the folder cannot be written.
    """
    return write_texts(
        folder,
        {
            f"{stem}.html": render_html(report),
            f"{stem}.md": render_markdown(report),
            f"{stem}.json": render_json(report),
        },
    )


__all__ = [
    "Report",
    "ReportLanguage",
    "SystemReport",
    "WrongRow",
    "build_report",
    "render_html",
    "render_json",
    "render_markdown",
    "write_report",
]
