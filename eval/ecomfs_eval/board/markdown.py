"""The board as Markdown."""

from __future__ import annotations

from ecomfs_eval.board.model import Board, Group
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
from ecomfs_eval.report.markdown import cell, table


def render_markdown(board: Board) -> str:
    """The board as Markdown text."""
    titles = [get_metric(m).title for m in board.metrics]
    lines = [f"# {cell(board.title)}", ""]
    lines += [f"{cell(note)}\n" for note in board.notes.get("", ())]
    lines += ["## In short", ""]
    lines += [f"In {get_metric(board.metrics[0]).title}:", "", *table(SHORT, short_rows(board))]
    for found in board.overall:
        lines += [f"### {cell(overall_heading(found))}", ""]
        lines += table(["mean", *titles], overall_rows(found, board.metrics))
        lines += [cell(TALLY.format(main=board.groups[0].main)), ""]
        lines += table(["against", *titles], tally_rows(found, board.metrics))
    lines += [f"Intervals are {100 * board.level:g} %; ± is the spread over the runs.", ""]
    for name in dict.fromkeys(g.name for g in board.groups):
        lines += [f"## {cell(name)}", ""]
        lines += [f"{cell(note)}\n" for note in board.notes.get(name, ())]
        for group in (g for g in board.groups if g.name == name):
            lines += [f"### {cell(heading(group))}", ""]
            rows = [[s, *cells(group, s, board.metrics)] for s in group.averages]
            lines += table(["system", *titles], rows)
            lines += _differences(group, board, titles)
            why = {f"{s}: {reason}": None for s, reason in group.absent.items()}
            lines += [f"- {cell(x)}" for x in (*undefined(group, board.metrics), *why)]
            lines += [""]
        beside = published_rows(board, name)
        if beside:
            lines += ["### Published results", ""]
            plain = [[r.system, r.shots, r.metric, r.value, r.source] for r in beside]
            lines += table(["system", "labelled", "metric", "value", "source"], plain)
    return "\n".join(lines).rstrip() + "\n"


def _differences(group: Group, board: Board, titles: list[str]) -> list[str]:
    if not group.differences:
        return []
    rows = [
        [f"{group.main} − {s}", *(group.differences[s][m].text() for m in board.metrics)]
        for s in group.differences
    ]
    return [f"Paired, {group.main} minus each:", "", *table(["difference", *titles], rows)]
