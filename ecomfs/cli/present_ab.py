"""Prints an A/B comparison on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from ecomfs.ab import METRICS, Outcome
from ecomfs.cli.present import Console, plain, show_table
from ecomfs.evaluation.evaluate import ANSWERED
from ecomfs_eval.compare import Comparisons, Flip, PairwiseComparison
from ecomfs_eval.compare.differences import p_text, signed
from ecomfs_eval.metrics import Score
from ecomfs_eval.predictions import Predictions


def print_outcome(found: Outcome, show: int, written: Sequence[Path] = ()) -> None:
    """Print everything, at most ``show`` rows whose prediction changed, and the decision last."""
    first = found.result.comparisons[0]
    level = 100 * (1 - float(found.about["alpha"]))
    plain(f"{first.rows:,} rows compared · {level:g} % intervals")
    of_model = () if found.model_alone is None else found.model_alone.notes
    for note in found.notes:
        if note in of_model:
            continue  # printed with the table of the model alone
        plain(note)
    _print_scores(found)
    _print_differences(found.result)
    if found.model_alone is not None:
        plain("\nthe model alone, without the experts:")
        for note in found.model_alone.notes:
            plain(note)
        _print_scores(found.model_alone)
        _print_differences(found.model_alone.result)
    _print_slices(found.result)
    if first.mcnemar is not None:
        _print_flips(found.systems, found.result, show)
    for path in written:
        plain(f"wrote {path}")
    decision = f"\n[bold]{escape(found.decision)}[/]"
    Console().print(decision, highlight=False, soft_wrap=True)


def _print_scores(found: Outcome) -> None:
    systems = {system.name: found.scores[system.name] for system in found.systems}
    first = next(iter(systems.values()))
    shown = {m: t for m, t in (METRICS | ANSWERED).items() if m in first}
    show_table(
        ("", *shown.values()),
        ((n, *(_cell(scores[m]) for m in shown)) for n, scores in systems.items()),
    )
    for name, scores in systems.items():
        for metric, title in shown.items():
            if scores[metric].value is None:
                plain(f"{title} of {name} is undefined: {scores[metric].reason}")


def _cell(score: Score) -> str:
    return "–" if score.value is None else score.text().replace(" [", "\n[")


def _print_differences(result: Comparisons) -> None:
    """Print the differences as lines: a narrow terminal would truncate a table."""
    many = len(result.comparisons)
    paired = result.comparisons[0].mcnemar is not None
    plain(
        "differences (shares in points), "
        + ("paired bootstrap intervals:" if paired else "intervals of unpaired arms:")
    )
    for c in result.comparisons:
        shown = {d.metric: d for d in c.differences}
        order = dict.fromkeys([c.primary, *METRICS])
        deltas = " · ".join(
            f"{METRICS.get(m, shown[m].title)} {shown[m].text()}" for m in order if m in shown
        )
        plain(f"  {c.b} − {c.a}: {deltas}\n         {_test(c, many)}")


def _test(c: PairwiseComparison, many: int) -> str:
    p = "p undefined" if c.p_value is None else p_text(c.p_value)
    corrected = f", Holm over {many}" if many > 1 and c.sequential is None else ""
    if c.mcnemar is None:
        name = {"fisher": "Fisher's exact test", "bootstrap": "bootstrap"}.get(
            c.differences[0].test, "no test"
        )
        return f"{name} {p}{corrected}"
    counts = f"right only in {c.a}: {c.mcnemar.only_a}, only in {c.b}: {c.mcnemar.only_b}"
    if c.sequential is not None:
        return f"{counts} · e-process {p}, valid at every look"
    name = "exact McNemar" if c.differences[0].test == "mcnemar" else "bootstrap"
    return f"{counts} · {name} {p}{corrected}"


def _print_slices(result: Comparisons) -> None:
    """Print the differences by slice; slicings with many values are only in the report."""
    for c in result.comparisons:
        for slicing, rows in c.slices.items():
            if len(rows) > 8:
                line = f"{len(rows)} values, see the report or --json"
            else:
                line = " · ".join(
                    f"{r.value or '–'} (n {r.n}) {signed(r.delta, 'share')}"
                    + (f" [{r.note}]" if r.note else "")
                    + (f" {p_text(r.p_adjusted)}" if r.p_adjusted is not None else "")
                    for r in rows
                )
            plain(f"  {c.b} − {c.a} by {slicing}: {line}")


def _print_flips(systems: Sequence[Predictions], result: Comparisons, show: int) -> None:
    """Print one line per row whose prediction differs; rows that became wrong first."""
    rank = {"broken": 0, "fixed": 1, "changed": 2}
    flipped: dict[str, Flip] = {}
    for c in result.comparisons:
        for flip in c.flips:
            kept = flipped.get(flip.id)
            if kept is None or rank[flip.kind] < rank[kept.kind]:
                flipped[flip.id] = flip
    if not flipped:
        plain("no prediction changed")
        return
    answers: dict[str, list[str]] = {id_: [f.a] for id_, f in flipped.items()}
    for c in result.comparisons:
        changed = {f.id: f.b for f in c.flips}
        for id_, row in answers.items():
            row.append(changed.get(id_, row[0]))
    ordered = sorted(flipped.values(), key=lambda f: rank[f.kind])
    rows = []
    for flip in ordered[: max(show, 0)]:
        text = " ".join(flip.extra_a.get("text", "").split())
        short = text if len(text) <= 60 else text[:59] + "…"
        rows.append([flip.id, short, flip.gold, *answers[flip.id], flip.kind])
    if rows:
        show_table(
            ("id", "text", "gold", *(s.name for s in systems), ""),
            rows,
            title=f"the predictions of {len(flipped)} rows changed",
            title_justify="left",
        )
    if len(ordered) > show:
        plain(
            f"the predictions of {len(ordered)} rows changed; --show lists more, -o report.html "
            "has both prompts"
        )
