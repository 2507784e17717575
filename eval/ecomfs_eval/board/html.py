"""The board as one HTML file: no script, nothing fetched, readable on a phone."""

from __future__ import annotations

from importlib import resources

import jinja2
from markupsafe import Markup

from ecomfs_eval.board.model import Board
from ecomfs_eval.board.overall import clear
from ecomfs_eval.board.words import (
    SHORT,
    TALLY,
    cells,
    heading,
    overall_heading,
    overall_rows,
    published_rows,
    short_rows,
    tally_rows,
    undefined,
)
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.report import charts
from ecomfs_eval.report.strings import Words


def render_html(board: Board) -> str:
    """The page as text; every text of the data is escaped."""
    page = (resources.files("ecomfs_eval.board") / "board.html.jinja").read_text(encoding="utf-8")
    style = (resources.files("ecomfs_eval.report") / "style.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    words = Words("en")
    return environment.from_string(page).render(
        board=board,
        style=Markup(style),
        names=list(dict.fromkeys(g.name for g in board.groups)),
        titles=[get_metric(m).title for m in board.metrics],
        definitions=[get_metric(m) for m in board.metrics],
        heading=heading,
        cells=lambda group, system: cells(group, system, board.metrics),
        undefined=lambda group: undefined(group, board.metrics),
        short=SHORT,
        short_rows=zip(short_rows(board), board.groups, strict=True),
        overall_heading=overall_heading,
        overall_rows=lambda found: overall_rows(found, board.metrics),
        tallies=lambda found: tally_rows(found, board.metrics),
        tally=TALLY.format(main=board.groups[0].main),
        clear=clear,
        published=lambda name: published_rows(board, name),
        drawings={
            name: charts.learning_curves(curves, words) for name, curves in board.curves.items()
        },
        level=f"{100 * board.level:g}",
        markup=Markup,
    )
