"""A document as one HTML file: no script, nothing loaded, readable on a phone."""

from __future__ import annotations

from importlib import resources

import jinja2
from markupsafe import Markup

from ecomfs_eval.report.document import SupportsDocument


def render_html(report: SupportsDocument) -> str:
    """A report as an HTML page.

    The page holds no script and its content security policy forbids loading anything. Every
    text of the data is escaped.

    Parameters
    ----------
    report
        A :class:`~ecomfs_eval.report.Report` or a :class:`~ecomfs_eval.board.Board`.

    Examples
    --------
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
