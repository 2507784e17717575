"""Reports: results in, one HTML file, Markdown and JSON out.

A report (:func:`build_report`) describes one or several systems on the same rows. A suite's board
(:mod:`ecomfs_eval.board`) is written by the same functions.

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

from ecomfs_eval.errors import WriteError
from ecomfs_eval.files import whole_file
from ecomfs_eval.report.document import ReportLanguage, SupportsDocument
from ecomfs_eval.report.figures import write_figures
from ecomfs_eval.report.html import render_html
from ecomfs_eval.report.markdown import render_markdown
from ecomfs_eval.report.model import Report, build_report, settings


def render_json(report: SupportsDocument) -> str:
    """A report as JSON text: every number; undefined ones are ``null`` with a reason.

    Parameters
    ----------
    report
        A :class:`Report` or a :class:`~ecomfs_eval.board.Board`.

    Examples
    --------
    >>> from ecomfs_eval import Bootstrap, Predictions
    >>> p = Predictions.of(["a", "b"] * 5, ["a", "b"] * 5)
    >>> text = render_json(build_report([p], how=Bootstrap(resamples=100)))
    >>> json.loads(text)["systems"][0]["scores"]["accuracy"]["value"]
    1.0
    """
    return json.dumps(report.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_report(
    report: SupportsDocument, folder: str | Path, stem: str = "report"
) -> tuple[Path, ...]:
    """Write ``stem.html``, ``stem.md`` and ``stem.json``.

    Parameters
    ----------
    report
        A :class:`Report` or a :class:`~ecomfs_eval.board.Board`.
    folder
        Where to write; created if it does not exist.
    stem
        Name of the files without the suffix.

    Returns
    -------
    tuple of Path
        The three files.

    Raises
    ------
    WriteError
        The folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs_eval import Bootstrap, Predictions
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with whole_file(folder / name) as part:
                part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(
            f"{folder}: cannot write the report: {error.strerror or error}",
            hint="choose a folder you may write to",
        ) from error
    return tuple(folder / name for name in texts)


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
