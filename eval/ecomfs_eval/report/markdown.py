"""The report as Markdown: the same numbers without the drawings, for a commit or a ticket."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ecomfs_eval.compare.comparison import PairwiseComparison
from ecomfs_eval.compare.differences import p_text, signed
from ecomfs_eval.compare.slices import SliceDifference
from ecomfs_eval.learning_curve import LearningCurve
from ecomfs_eval.metrics.confusion import NO_ANSWER
from ecomfs_eval.metrics.score import Score, format_value
from ecomfs_eval.report.html import listed, metric_rows, undefined_rows
from ecomfs_eval.report.model import Report, SystemReport
from ecomfs_eval.report.strings import Words
from ecomfs_eval.report.words import decision, design, sentences

CONFUSIONS = 10

PROMPTS = 6
"""Flipped rows whose prompts are shown; the page has all of the listed ones."""


def cell(text: object) -> str:
    """Text that cannot break out of a table.

    >>> cell("a|b\\n*c*")
    'a\\\\|b \\\\*c\\\\*'
    """
    flat = " ".join(str(text).split())
    for sign in "\\|*_`[":
        flat = flat.replace(sign, "\\" + sign)
    return flat.replace("<", "&lt;")


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table and an empty line."""
    lines = ["| " + " | ".join(map(cell, header)) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return [*lines, ""]


def _text(score: Score, words: Words) -> str:
    return score.text() if score.value is not None else words("undefined_value")


def render_markdown(report: Report) -> str:
    """The report as Markdown text."""
    words = Words(report.language)
    lines = [f"# {cell(report.title)}", ""]
    if report.comparisons:
        lines += [f"**{cell(decision(c, words))}**\n" for c in report.comparisons]
    lines += [f"## {words('summary')}", ""]
    lines += [f"- {cell(s)}" for s in sentences(report)]
    lines += ["", *(f"{cell(n)}\n" for n in report.notes)]
    lines += [f"## {words('systems')}", "", words("interval_note", level=f"{100 * report.level:g}")]
    lines += [
        "",
        *table(
            [words("metric"), *(s.name for s in report.systems)],
            (
                [
                    title,
                    *(_text(s, words) for s in scores),
                ]
                for title, scores in metric_rows(report, words)
            ),
        ),
    ]
    gaps = undefined_rows(report, words)
    if gaps:
        lines += [f"{words('undefined')}:", ""]
        lines += [f"- {cell(reason)}: {cell(titles)}" for reason, titles in gaps]
        lines.append("")
    for c in report.comparisons:
        lines += _comparison(c, words)
    for curve in report.curves:
        lines += _curve(curve, words)
    for s in report.systems:
        lines += _system(s, words)
    return "\n".join(lines).rstrip() + "\n"


def _comparison(c: PairwiseComparison, words: Words) -> list[str]:
    kinds = [f.kind for f in c.flips]
    lines = [f"## {cell(words('comparison', a=c.a, b=c.b))}", ""]
    for line in design(c, words):
        lines += [cell(line), ""]
    lines += table(
        [words("metric"), c.a, c.b, words("difference"), words("p")],
        (
            [
                words.metric(d.metric, d.title),
                d.a.text(),
                d.b.text(),
                d.text(),
                "" if d.p_value is None else p_text(d.p_value),
            ]
            for d in c.differences
        ),
    )
    counts = words(
        "flips_count",
        broken=kinds.count("broken"),
        fixed=kinds.count("fixed"),
        changed=kinds.count("changed"),
    )
    if c.mcnemar is not None:
        lines += [f"### {words('flips')}", "", counts, "", *_flips(c, words)]
    for name, rows in c.slices.items():
        lines += [f"### {cell(words('by', name=words('class') if name == 'class' else name))}", ""]
        lines += table(
            [words("value"), words("rows"), c.a, c.b, words("difference"), words("p_adjusted")],
            (
                [
                    r.value,
                    r.n,
                    format_value(r.a, "share"),
                    format_value(r.b, "share"),
                    _slice(r),
                    "" if r.p_adjusted is None else p_text(r.p_adjusted),
                ]
                for r in rows
            ),
        )
    return lines


def _flips(c: PairwiseComparison, words: Words) -> list[str]:
    """What the page lists, as a table; then the prompts of the first of them."""
    shown = listed(c.flips)
    if not shown:
        return []
    lines = table(
        ["id", "", words("gold"), c.a, c.b, ""],
        ([f.id, words(f.kind), f.gold, f.a, f.b, _short(f.extra_a.get("text", ""))] for f in shown),
    )
    if len(c.flips) > len(shown):
        lines += [words("more", n=len(c.flips) - len(shown)), ""]
    for f in shown[:PROMPTS]:
        for name, answer, extra in ((c.a, f.a, f.extra_a), (c.b, f.b, f.extra_b)):
            if prompt := extra.get("prompt"):
                lines += [f"{cell(f.id)}, {cell(name)}: {cell(answer)}", "", *_fenced(prompt), ""]
    return lines


def _short(text: str, most: int = 80) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _fenced(text: str) -> list[str]:
    """Text as it is, which cannot end its own block."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text.rstrip("\n"), fence]


def _slice(r: SliceDifference) -> str:
    shown = signed(r.delta, "share")
    if r.interval is not None:
        low, high = signed(r.interval.low, "share"), signed(r.interval.high, "share")
        shown += f" [{low}, {high}]"
    return f"{shown} ({r.note})" if r.note else shown


def _curve(c: LearningCurve, words: Words) -> list[str]:
    def band(low: float | None, high: float | None) -> str:
        if low is None or high is None:
            return ""
        return f"[{format_value(low, c.unit)}, {format_value(high, c.unit)}]"

    title = words.metric(c.metric, c.title)
    return [
        f"## {words('learning')}: {cell(c.system)}",
        "",
        *table(
            [c.axis, title, f"{100 * c.level:g} %"],
            (
                [
                    p.size,
                    words("undefined_value") if p.value is None else format_value(p.value, c.unit),
                    band(p.low, p.high),
                ]
                for p in c.points
            ),
        ),
    ]


def _system(s: SystemReport, words: Words) -> list[str]:
    lines = [f"## {cell(s.name)}", ""]
    lines += table(
        [words("label"), words("rows"), words("precision"), words("recall"), "F1"],
        (
            [
                c.label,
                c.support,
                *(_text(x, words) for x in (c.precision, c.recall, c.f1)),
            ]
            for c in s.summary.classes
        ),
    )
    confusions = s.summary.confusion.top_confusions(CONFUSIONS)
    if confusions:
        lines += [f"### {words('top_confusions')}", ""]
        lines += table(
            [words("gold"), words("answer"), words("rows")],
            (
                [gold, words("no_answer") if answer == NO_ANSWER else answer, n]
                for gold, answer, n in confusions
            ),
        )
    for name, values in s.summary.slices.items():
        metrics = list(next(iter(values.values())))
        lines += [f"### {cell(words('by', name=name))}", ""]
        lines += table(
            [words("value"), *(words.metric(m, m) for m in metrics)],
            (
                [
                    value,
                    *(_text(x, words) for x in scores.values()),
                ]
                for value, scores in values.items()
            ),
        )
    return lines
