"""The summary in sentences, and decisions in the report's language."""

from __future__ import annotations

from ecomfs_eval.compare.comparison import PairwiseComparison
from ecomfs_eval.compare.differences import p_text, signed
from ecomfs_eval.metrics.confusion import NO_ANSWER
from ecomfs_eval.metrics.score import Undefined, format_value
from ecomfs_eval.report.model import Report, SystemReport
from ecomfs_eval.report.strings import Words


def sentences(report: Report) -> list[str]:
    """What the numbers say, most important first; the decisions are separate."""
    words = Words(report.language)
    first = report.systems[0]
    found = [
        words(
            "s_best",
            name=first.name,
            value=first.summary["accuracy"].text(),
            rows=f"{first.summary.rows:,}",
        )
    ]
    found += [
        words("s_worse_than", name=s.name, value=s.summary["accuracy"].text())
        for s in report.systems[1:]
    ]
    for system in report.systems[:1]:
        found += _unanswered(system, words)
        found += _sureness(system, words)
        found += _coverage(system, words)
        found += _weakest(system, words)
        top = system.summary.confusion.top_confusions(1)
        if top:
            gold, answer, n = top[0]
            found.append(
                words(
                    "s_confusion",
                    name=system.name,
                    gold=gold,
                    answer=words("no_answer") if answer == NO_ANSWER else answer,
                    n=n,
                )
            )
    return found


def _percent(value: float) -> str:
    return format_value(value, "share")


def _unanswered(s: SystemReport, words: Words) -> list[str]:
    counts = {
        status: round((s.summary[f"{status}_rate"].value or 0.0) * s.summary.rows)
        for status in ("abstained", "invalid", "failed")
    }
    total = sum(counts.values())
    if not total:
        return []
    parts = ", ".join(words(f"s_{status}", n=n) for status, n in counts.items() if n)
    return [words("s_unanswered", name=s.name, n=total, parts=parts)]


def _sureness(s: SystemReport, words: Words) -> list[str]:
    """Only where the gap is larger than the interval of the accuracy."""
    accuracy = s.summary["accuracy_answered"]
    if s.mean_confidence is None or accuracy.value is None or accuracy.interval is None:
        return []
    if s.mean_confidence in accuracy.interval:
        return []
    key = "s_confident" if s.mean_confidence > accuracy.value else "s_modest"
    return [
        words(
            key,
            name=s.name,
            confidence=_percent(s.mean_confidence),
            accuracy=_percent(accuracy.value),
        )
    ]


def _coverage(s: SystemReport, words: Words) -> list[str]:
    """What abstaining would buy at half the error rate."""
    if isinstance(s.risk, Undefined):
        return []
    whole = float(s.risk.risk[-1])
    found = s.risk.coverage_at(whole / 2)
    if whole == 0 or found is None or found[0] < 0.1:
        return []
    coverage, threshold = found
    at = int((s.risk.coverage <= coverage + 1e-12).sum()) - 1
    return [
        words(
            "s_coverage",
            name=s.name,
            coverage=_percent(coverage),
            threshold=_percent(threshold),
            risk=_percent(float(s.risk.risk[at])),
            all=_percent(whole),
        )
    ]


def _weakest(s: SystemReport, words: Words) -> list[str]:
    """The slice with the lowest accuracy, where its interval lies below the whole."""
    whole = s.summary["accuracy"].value
    found = []
    for slicing, values in s.summary.slices.items():
        for value, scores in values.items():
            score = scores.get("accuracy")
            if score is None or score.value is None or score.interval is None or whole is None:
                continue
            if score.interval.high < whole:
                found.append((score.value, slicing, value, score))
    if not found:
        return []
    _, slicing, value, score = min(found, key=lambda x: x[0])
    return [
        words("s_slice", name=s.name, slicing=slicing, value=value, score=score.text(), n=score.n)
    ]


def design(c: PairwiseComparison, words: Words) -> list[str]:
    """How the two were compared: the paired table, or that there is none; the looks; the effect
    these rows can show."""
    found = []
    m, s = c.mcnemar, c.sequential
    if m is None:
        found.append(words("unpaired", a=c.a, b=c.b))
    else:
        key = "paired_table" if s is None else "paired_counts"
        found.append(
            words(
                key,
                a=c.a,
                b=c.b,
                both=m.both,
                only_a=m.only_a,
                only_b=m.only_b,
                neither=m.neither,
                p=p_text(m.p_value),
            )
        )
    if s is not None:
        found.append(
            words("sequential", rows=f"{s.rows:,}", level=f"{100 * s.level:g}",
                  p=p_text(s.p_value))
        )  # fmt: skip
    elif c.minimum_effect is not None:
        key = "effect_note" if m is not None else "effect_note_unpaired"
        found.append(words(key, effect=f"{100 * c.minimum_effect:.1f}"))
    return found


def decision(c: PairwiseComparison, words: Words) -> str:
    """The decision line in the report's language."""
    if words.language == "en":
        return c.decision.text
    d = c.differences[0]
    if d.delta is None or d.interval is None:
        return c.decision.text
    metric = words.metric(d.metric, d.title)
    edges = [signed(x, d.unit).replace("+", "") for x in (d.interval.low, d.interval.high)]
    interval = f"[{edges[0]}, {edges[1]}]"
    if c.decision.verdict == "equivalent":
        return words("d_equivalent", a=c.a, b=c.b, interval=interval)
    if c.decision.verdict == "undecided":
        return words("d_undecided", a=c.a, b=c.b, interval=interval)
    winner, loser = (c.b, c.a) if c.decision.verdict == "b better" else (c.a, c.b)
    low, high = sorted((abs(d.interval.low), abs(d.interval.high)))
    edges = [signed(x, d.unit).replace("+", "") for x in (low, high)]
    value = signed(abs(d.delta), d.unit).replace("+", "")
    key = "points_of" if d.unit == "share" else "value_of"
    return words(
        "d_better",
        winner=winner,
        loser=loser,
        size=words(key, value=value, metric=metric),
        interval=f"[{edges[0]}, {edges[1]}]",
    )
