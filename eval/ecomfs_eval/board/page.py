"""A board as a document, and its tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ecomfs_eval.board.model import Board, Group, Overall, WinCounts
from ecomfs_eval.compare.differences import Difference
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.score import Score, format_value
from ecomfs_eval.report import charts
from ecomfs_eval.report.contribution import contribution
from ecomfs_eval.report.document import (
    Document,
    DocumentBlock,
    FigureGrid,
    Heading,
    Paragraph,
    Section,
    TableBlock,
    TableCell,
)
from ecomfs_eval.report.page import metric_definitions, numbers
from ecomfs_eval.report.words import EN, ReportWords

NONE = "–"
MARKS = {True: "won", False: "lost", None: ""}


def board_document(board: Board) -> Document:
    """The whole board."""
    words = ReportWords(board.language)
    sections = [Section(words("in_short"), _short(board, words))]
    for name in dict.fromkeys(g.name for g in board.groups):
        blocks: list[DocumentBlock] = [
            Paragraph(note, "soft") for note in board.notes.get(name, ())
        ]
        for group in board.groups:
            if group.name == name:
                blocks += _group(group, board, words)
        if rows := _published(board, name, words):
            blocks.append(rows)
        sections.append(Section(name, blocks))
    figures = [
        f
        for name, found in board.curves.items()
        for f in charts.learning_curves(found, words, note=name)
    ]
    if figures:
        sections.append(Section(words("learning"), [FigureGrid(figures)]))
    sections.append(Section(words("definitions"), [metric_definitions(board.metrics, words)]))
    sections += numbers(board.source, words)
    return Document(board.title, board.language, board.notes.get("", ()), sections)


def _short(board: Board, words: ReportWords) -> list[DocumentBlock]:
    """One row per table in its first metric, then the averages over tables of the same metrics."""
    firsts = list(dict.fromkeys(group.metrics[0] for group in board.groups))
    blocks: list[DocumentBlock] = [_first(board, metric, words) for metric in firsts]
    for found in board.overall:
        name = overall_heading(found, board, words)
        titles = [words.metric(m) for m in found.metrics]
        note = words("win_note", main=board.groups[0].main)
        blocks += [
            Heading(name),
            TableBlock(name, [words("mean"), *titles], overall_rows(found)),
            TableBlock(name, [words("against"), *titles], win_rows(found, words), note),
        ]
    level = f"{100 * board.level:g}"
    return [*blocks, Paragraph(words("spread_note", level=level), "soft")]


def _first(board: Board, metric: str, words: ReportWords) -> TableBlock:
    """One row per table whose first metric this is."""
    rows: list[list[str | TableCell]] = []
    for group in (g for g in board.groups if g.metrics[0] == metric):
        best, ours = group.best_baseline, group.averages[group.main][metric].score
        there: list[str | TableCell] = [NONE, NONE]
        if best is not None:
            theirs = group.averages[best][metric].score
            there = [f"{best}: {_bare(theirs)}", _difference(group.differences[best][metric])]
        numbers = [str(group.size), str(group.rows), str(group.runs)]
        rows.append([group.title, *numbers, _bare(ours), *there])
    mains = list(dict.fromkeys(g.main for g in board.groups))
    main = mains[0] if len(mains) == 1 else words("system")
    header = [
        *map(words, ("data_set", "labelled", "rows", "runs")),
        main,
        words("best_baseline"),
        words("difference"),
    ]
    return TableBlock(words("in_short"), header, rows, words.metric(metric), text_columns=(0, 5))


def _group(group: Group, board: Board, words: ReportWords) -> list[DocumentBlock]:
    name, titles = heading(group, words), [words.metric(m) for m in group.metrics]
    systems = list(group.averages)
    rows = [[s, *cells(group, s, group.metrics)] for s in systems]
    main = (systems.index(group.main),)
    blocks: list[DocumentBlock] = [
        Heading(name),
        TableBlock(name, [words("system"), *titles], rows, main_rows=main),
    ]
    if group.differences:
        caption = words("paired", main=group.main)
        found: list[list[str | TableCell]] = [
            [s, *(_difference(d[m]) for m in group.metrics)] for s, d in group.differences.items()
        ]
        header = [words("versus", main=group.main), *titles]
        blocks.append(TableBlock(f"{caption}, {name}", header, found, caption))
        blocks += [Paragraph(line) for line in headlines(group, board, words)]
    absent = [f"{system}: {reason}" for system, reason in group.absent.items()]
    remarks = [*undefined(group, group.metrics), *absent]
    return [*blocks, *(Paragraph(line, "soft") for line in remarks)]


def _published(board: Board, name: str, words: ReportWords) -> TableBlock | None:
    """Published results beside those of the main system and the best baseline, by metric."""
    rows: list[list[str]] = []
    ours: list[int] = []
    published = board.published.get(name, ())
    for metric in dict.fromkeys(p.metric for p in published):
        title, unit = words.metric(metric), get_metric(metric).unit
        for group in (g for g in board.groups if g.name == name):
            for system in [s for s in (group.main, group.best_baseline) if s]:
                found = group.averages[system].get(metric)
                if found is not None and found.score.value is not None:
                    shown = f"{system} · {group.variant}" if group.variant else system
                    ours.append(len(rows))
                    rows.append(
                        [shown, str(group.size), title, found.score.text(), words("this_run")]
                    )
        for p in published:
            if p.metric == metric:
                source = f"{p.source}; {p.note}" if p.note else p.source
                rows.append([p.system, p.shots, title, format_value(p.value, unit), source])
    if not rows:
        return None
    header = [words(key) for key in ("system", "labelled", "metric", "value", "source")]
    caption = words("published")
    label = f"{caption}, {name}"
    return TableBlock(label, header, rows, caption, text_columns=(0, 1, 2, 4), main_rows=ours)


def _bare(score: Score) -> str:
    return NONE if score.value is None else format_value(score.value, score.unit)


def _difference(d: Difference) -> TableCell:
    return TableCell(NONE if d.delta is None else d.text(), mark=MARKS[d.clear])


def heading(group: Group, words: ReportWords) -> str:
    """Data set, number of labelled examples, test rows and runs."""
    runs = words("one_run") if group.runs == 1 else words("mean_of_runs", n=group.runs)
    return words("group", name=group.title, size=group.size, rows=group.rows, runs=runs)


def cells(group: Group, system: str, metrics: Sequence[str]) -> list[str]:
    """One text per metric: value and interval, and the spread over the runs."""
    out = []
    for metric in metrics:
        found = group.averages[system][metric]
        text = NONE if found.score.value is None else found.score.text()
        if found.score.value is not None and found.spread is not None:
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
    return [f"{reason} ({', '.join(names)})" for reason, names in reasons.items()]


def verdict(group: Group, metric: str, words: ReportWords) -> str:
    """Main compared with the best baseline, in one sentence.

    >>> from ecomfs_eval import Predictions
    >>> from ecomfs_eval.board import BoardEntry, build_board
    >>> gold = ["a", "b"] * 30
    >>> ours = Predictions.of(gold, gold, name="ours")
    >>> other = Predictions.of(gold, ["a"] * 60, name="majority")
    >>> entry = BoardEntry("x", 8, [ours, other])
    >>> board = build_board([entry], metrics=["accuracy"], main="ours")
    >>> verdict(board.groups[0], "accuracy", ReportWords("en"))
    'ours beats the best baseline, majority, in accuracy: +50.0 [+38.3, +63.3]'
    """
    if group.best_baseline is None:
        return words("no_baseline", main=group.main)
    d = group.differences[group.best_baseline][metric]
    title = words.inside(d.metric, d.title)
    key = {True: "beats", False: "loses", None: "ties"}[d.clear]
    best = group.best_baseline
    return words(key, main=group.main, best=best, metric=title, difference=d.text())


def headlines(group: Group, board: Board, words: ReportWords) -> list[str]:
    """One line each: does the model add anything, and is the answer better than the trivial rule of
    the task?"""
    lines = []
    if board.without in group.differences:
        found = group.differences[board.without].values()
        lines.append(contribution(found, group.rows, words, main=group.main, without=board.without))
    if group.rule:
        metric = group.metrics[0]
        d = group.differences[group.rule][metric]
        rule = words(f"rule_{group.rule}") if f"rule_{group.rule}" in EN else group.rule
        difference = f"{words.inside(d.metric, d.title)} {d.text()}"
        lines.append(words("rule", rule=rule, main=group.main, differences=difference))
    return [line for line in lines if line]


def overall_heading(found: Overall, board: Board, words: ReportWords) -> str:
    """The tables that were averaged: with their data sets, if some tables have other metrics."""
    size = words("all_sizes") if found.size is None else words("examples", n=found.size)
    heading = words("all_tables", n=found.tables, size=size)
    if len({group.metrics for group in board.groups}) == 1:
        return heading
    names = dict.fromkeys(g.name for g in board.groups if g.metrics == found.metrics)
    return f"{heading} · {', '.join(names)}"


def overall_rows(found: Overall) -> list[list[str]]:
    """One row per system: its name and its means."""
    rows = []
    for system, means in found.means.items():
        values = [(means[m], get_metric(m).unit) for m in found.metrics]
        rows.append([system, *(NONE if v is None else format_value(v, u) for v, u in values)])
    return rows


def win_rows(found: Overall, words: ReportWords) -> list[list[str]]:
    """The number of tables in which main is better than each of its parts and the best baseline."""

    def text(w: WinCounts) -> str:
        if not w.of:
            return NONE
        counts = {"clear": w.clearly_better, "worse": w.clearly_worse}
        return words("wins", better=w.better, of=w.of, **counts)

    against = (*found.against.items(), (words("the_best_baseline"), found.best))
    return [[name, *(text(wins[m]) for m in found.metrics)] for name, wins in against]
