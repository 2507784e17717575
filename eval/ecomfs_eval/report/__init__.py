"""Reports of results as one HTML file, Markdown and JSON.

A report (:func:`build_report`) describes one or several systems on the same rows. A suite's board
(:mod:`ecomfs_eval.board`) is written by the same functions.

>>> from ecomfs_eval import Predictions
>>> table = [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]
>>> p = Predictions.of(["no", "yes", "yes"], probabilities=table, labels=["no", "yes"])
>>> report = build_report([p], title="Three rows")
>>> "<h1>Three rows</h1>" in render_html(report), render_markdown(report).splitlines()[0]
(True, '# Three rows')
"""

from ecomfs_eval.report.document import ReportLanguage
from ecomfs_eval.report.figures import write_figures
from ecomfs_eval.report.model import Report, build_report, settings
from ecomfs_eval.report.render import render_html, render_json, render_markdown, write_report

__all__ = [
    "Report",
    "ReportLanguage",
    "build_report",
    "render_html",
    "render_json",
    "render_markdown",
    "settings",
    "write_figures",
    "write_report",
]
