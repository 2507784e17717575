"""The report as one HTML file: no script, nothing fetched, readable on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from ecomfs_eval.compare.differences import p_text, signed
from ecomfs_eval.compare.flips import Flip
from ecomfs_eval.metrics import METRICS, get_metric
from ecomfs_eval.metrics.confusion import NO_ANSWER, ConfusionMatrix
from ecomfs_eval.metrics.score import Score
from ecomfs_eval.report import charts
from ecomfs_eval.report.model import Report
from ecomfs_eval.report.strings import Words
from ecomfs_eval.report.words import decision, design, sentences

MATRIX_LABELS = 20
"""With more labels, the most frequent confusions are listed instead of a matrix."""

ONLY_WITH_GAPS = frozenset({"accuracy_answered", "abstained_rate", "invalid_rate", "failed_rate"})
"""Left out of the table where every system answered every row."""

FLIPS = {"broken": 30, "fixed": 30, "changed": 10}
"""Most flipped rows of each kind that are listed for a comparison."""


def render_html(report: Report) -> str:
    """The page as text.

    It holds no script, its content security policy forbids all loading, and every text of the
    data is escaped: rows may hold anything.
    """
    folder = resources.files("ecomfs_eval.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = Words(report.language)
    return environment.get_template("page.html.jinja").render(
        report=report,
        t=words,
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        lang="zh-CN" if report.language == "zh" else "en",
        sentences=sentences(report),
        decisions=[decision(c, words) for c in report.comparisons],
        designs=[design(c, words) for c in report.comparisons],
        table=metric_rows(report, words),
        undefined=undefined_rows(report, words),
        drawings=charts.curves(report, words),
        learning=charts.learning(report, words),
        matrices=[_matrix(s.summary.confusion) for s in report.systems],
        definitions=[
            (words.metric(m.name, m.title), m.definition, m.source)
            for m in map(get_metric, report.metrics)
        ],
        level=f"{100 * report.level:g}",
        pct=lambda v: "" if v is None else f"{100 * v:.1f} %",
        points=lambda v: signed(v, "share"),
        interval=lambda i: (
            "" if i is None else f"[{signed(i.low, 'share')}, {signed(i.high, 'share')}]"
        ),
        p=lambda v: "" if v is None else p_text(v),
        markup=Markup,
        flips=[listed(c.flips) for c in report.comparisons],
        no_answer=NO_ANSWER,
    )


def metric_rows(report: Report, words: Words) -> list[tuple[str, Sequence[Score]]]:
    """(title, one score a system) for each metric that at least one system has."""
    rows: list[tuple[str, Sequence[Score]]] = []
    all_answered = all(s.summary["answered_rate"].value == 1 for s in report.systems)
    for name in report.metrics:
        if all_answered and name in ONLY_WITH_GAPS:
            continue
        scores = [s.summary[name] for s in report.systems]
        if any(s.value is not None for s in scores):
            rows.append((words.metric(name, get_metric(name).title), scores))
    return rows


def undefined_rows(report: Report, words: Words) -> list[tuple[str, str]]:
    """(reason, titles) of what no system has."""
    reasons: dict[str, list[str]] = {}
    for name in dict.fromkeys([*report.metrics, *METRICS]):
        scores = [s.summary[name] for s in report.systems]
        if all(s.value is None for s in scores):
            title = words.metric(name, get_metric(name).title)
            reasons.setdefault(scores[0].reason, []).append(title)
    return [(reason, ", ".join(titles)) for reason, titles in reasons.items()]


def listed(found: Sequence[Flip]) -> list[Flip]:
    """The first rows of each kind, so that many of one do not hide the others."""
    return [f for kind, n in FLIPS.items() for f in [f for f in found if f.kind == kind][:n]]


def _matrix(m: ConfusionMatrix) -> list[tuple[str, list[dict[str, Any]]]] | None:
    """Rows of cells with their shade (share of the row, 0 to 4), or nothing for many labels."""
    if len(m.labels) > MATRIX_LABELS:
        return None
    silent = m.counts[:, -1].any()
    rows = []
    for i, label in enumerate(m.labels):
        total = max(1, int(m.counts[i].sum()))
        cells = [
            {
                "n": int(n),
                "kind": "hit" if j == i else "miss",
                "shade": min(4, int(-(-4 * int(n) // total))),
            }
            for j, n in enumerate(m.counts[i])
        ]
        rows.append((label, cells if silent else cells[:-1]))
    return rows
