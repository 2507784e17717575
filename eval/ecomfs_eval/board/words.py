"""Sentences and cells that the Markdown and the HTML page share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs_eval.board.model import Board, Group, PublishedResult
from ecomfs_eval.board.overall import Overall, clear
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.score import Score, format_value


def heading(group: Group) -> str:
    """Which data set, with how many labels, on how many rows."""
    variant = f" · {group.variant}" if group.variant else ""
    runs = "1 run" if group.runs == 1 else f"mean of {group.runs} runs"
    return f"{group.name}{variant}: {group.size} labelled examples, {group.rows} test rows, {runs}"


def cells(group: Group, system: str, metrics: Sequence[str]) -> list[str]:
    """One cell a metric: value and interval, and the spread over the runs."""
    out = []
    for metric in metrics:
        found = group.averages[system][metric]
        if found.score.value is None:
            out.append("–")
            continue
        text = found.score.text()
        if found.spread is not None:
            unit = get_metric(metric).unit
            text += f" ±{format_value(found.spread, unit).removesuffix(' %')}"
        out.append(text)
    return out


def undefined(group: Group, metrics: Sequence[str]) -> list[str]:
    """Why cells are empty, each reason once."""
    reasons: dict[str, list[str]] = {}
    for system, found in group.averages.items():
        for metric in metrics:
            score = found[metric].score
            if score.value is None:
                reasons.setdefault(f"{get_metric(metric).title}: {score.reason}", []).append(system)
    lines = [f"{reason} ({', '.join(names)})" for reason, names in reasons.items()]
    return lines


def verdict(group: Group, metric: str) -> str:
    """Main against the best baseline, in words.

    >>> from ecomfs_eval import Predictions
    >>> from ecomfs_eval.board import BoardEntry, build_board
    >>> gold = ["a", "b"] * 30
    >>> ours = Predictions.of(gold, gold, name="ours")
    >>> other = Predictions.of(gold, ["a"] * 60, name="majority")
    >>> board = build_board([BoardEntry("x", 8, [ours, other])], metrics=["accuracy"], main="ours")
    >>> verdict(board.groups[0], "accuracy")
    'ours beats the best baseline, majority, in accuracy: +50.0 [+38.3, +63.3]'
    """
    if group.best_baseline is None:
        return f"{group.main} has no baseline beside it"
    d = group.differences[group.best_baseline][metric]
    title = d.title if d.title.isupper() else d.title[0].lower() + d.title[1:]
    won = clear(d)
    verb = "is not clearly apart from" if won is None else "beats" if won else "loses to"
    return f"{group.main} {verb} the best baseline, {group.best_baseline}, in {title}: {d.text()}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of published results; ``ours`` marks what was run here."""

    system: str
    shots: str
    metric: str
    value: str
    source: str
    ours: bool = False


SHORT = ("data set", "labelled", "rows", "runs", "main", "best baseline", "difference")


def short_rows(board: Board) -> list[tuple[str, ...]]:
    """A line a table in the first metric, under the heading :data:`SHORT`."""
    metric = board.metrics[0]
    rows: list[tuple[str, ...]] = []
    for group in board.groups:
        best, ours = group.best_baseline, group.averages[group.main][metric].score
        name = f"{group.name} · {group.variant}" if group.variant else group.name
        there = ("–", "–")
        if best is not None:
            theirs = group.averages[best][metric].score
            there = (f"{best}: {_bare(theirs)}", group.differences[best][metric].text())
        rows.append((name, str(group.size), str(group.rows), str(group.runs), _bare(ours), *there))
    return rows


def _bare(score: Score) -> str:
    return "–" if score.value is None else format_value(score.value, score.unit)


def overall_heading(found: Overall) -> str:
    """Which tables were put together."""
    size = "all sizes" if found.size is None else f"{found.size} labelled examples"
    return f"All {found.tables} tables, {size}"


def overall_rows(found: Overall, metrics: Sequence[str]) -> list[list[str]]:
    """System and its means."""
    rows = []
    for system, means in found.means.items():
        values = [(means[m], get_metric(m).unit) for m in metrics]
        rows.append([system, *("–" if v is None else format_value(v, u) for v, u in values)])
    return rows


TALLY = (
    "Tables in which {main} is better, of how many; in how many of them clearly (the interval "
    "leaves out zero), and in how many it is clearly worse."
)


def tally_rows(found: Overall, metrics: Sequence[str]) -> list[list[str]]:
    """Main against its parts and the best baselines: see :data:`TALLY`."""
    against = (*found.against.items(), ("the best baseline", found.best))
    return [[name, *(tallies[m].text() for m in metrics)] for name, tallies in against]


def published_rows(board: Board, name: str) -> list[Row]:
    """Ours and theirs, by metric; nothing when nothing is published."""
    rows: list[Row] = []
    theirs = board.published.get(name, ())
    for metric in dict.fromkeys(p.metric for p in theirs):
        title, unit = get_metric(metric).title, get_metric(metric).unit
        for group in (g for g in board.groups if g.name == name):
            for system in [s for s in (group.main, group.best_baseline) if s]:
                found = group.averages[system].get(metric)
                if found is not None and found.score.value is not None:
                    shown = f"{system} · {group.variant}" if group.variant else system
                    size = str(group.size)
                    rows.append(Row(shown, size, title, found.score.text(), "this run", ours=True))
        rows += [
            Row(p.system, p.shots, title, format_value(p.value, unit), _source(p))
            for p in theirs
            if p.metric == metric
        ]
    return rows


def _source(p: PublishedResult) -> str:
    return f"{p.source}; {p.note}" if p.note else p.source
