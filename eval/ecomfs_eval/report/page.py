"""A report on one or several systems as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecomfs_eval.compare.comparison import PairwiseComparison
from ecomfs_eval.compare.differences import p_text, signed
from ecomfs_eval.compare.paired import Flip, FlipKind
from ecomfs_eval.compare.slices import SliceDifference
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.confusion import ConfusionMatrix
from ecomfs_eval.metrics.score import Score, Undefined, format_value
from ecomfs_eval.report import charts
from ecomfs_eval.report.document import (
    BulletList,
    Details,
    Document,
    DocumentBlock,
    FigureGrid,
    Heading,
    Panel,
    Paragraph,
    RowEntry,
    RowList,
    Section,
    TableBlock,
    TableCell,
    TermList,
)
from ecomfs_eval.report.model import Report, SystemReport, WrongRow
from ecomfs_eval.report.words import ReportWords

MATRIX_LABELS = 20
"""With more labels, the most frequent confusions are listed in place of a matrix."""

OPEN_ROWS = 12
"""Tables with more rows are closed at first."""

ONLY_WITH_GAPS = frozenset({"accuracy_answered", "abstained_rate", "invalid_rate", "failed_rate"})
"""Left out of the table where every system answered every row."""

FLIPS: dict[FlipKind, int] = {"broken": 30, "fixed": 30, "changed": 10}
"""Most rows of each kind that are listed for a comparison."""


def report_document(report: Report) -> Document:
    """The whole report."""
    words = ReportWords(report.language)
    level = f"{100 * report.level:g}"
    first = report.systems[0].summary
    decisions = [decision(c, words) for c in report.comparisons]
    curves = charts.curves(report, words)
    learning = charts.learning_curves(report.curves, words, [s.name for s in report.systems])
    notes = [Paragraph(note, "soft") for note in report.notes]
    sections = [
        Section(words("summary"), [BulletList(sentences(report, words)), *notes]),
        Section(words("systems"), _systems(report, words, level)),
    ]
    if decisions:
        lines = [Paragraph(line, "decision") for line in decisions]
        sections.insert(0, Section(words("decision"), lines))
    if curves:
        sections.append(Section(words("curves"), [FigureGrid(curves)]))
    if learning:
        note = Paragraph(words("band_note", level=level), "soft")
        sections.append(Section(words("learning"), [note, FigureGrid(learning)]))
    for c, line in zip(report.comparisons, decisions, strict=True):
        title = words("comparison", a=c.a, b=c.b)
        sections.append(Section(title, _comparison(c, line, title, words)))
    sections += [
        Section(s.name, _system(s, words, is_first=s is report.systems[0])) for s in report.systems
    ]
    definitions = metric_definitions(report.metrics, words)
    title = f"{words('metric')} ({len(definitions.items)})"
    sections.append(Section(words("definitions"), [Details(title, [definitions])]))
    sections += numbers(report.source, words)
    intro = words(
        "subtitle",
        rows=f"{first.rows:,}",
        labels=len(first.labels),
        names=", ".join(s.name for s in report.systems),
    )
    return Document(report.title, report.language, (intro,), sections)


def numbers(source: Mapping[str, str], words: ReportWords) -> list[Section]:
    """The last section: where the numbers come from; empty if that was not given."""
    known = ("command", "data", "versions", "settings")
    terms = [(words(k) if k in known else k, text, "") for k, text in source.items() if text]
    return [Section(words("numbers"), [TermList(terms)])] if terms else []


def metric_definitions(metrics: Sequence[str], words: ReportWords) -> TermList:
    """The definition of each metric and its source."""
    found = [get_metric(m) for m in metrics]
    return TermList([(words.metric(m.name), f"{m.definition}.", m.source) for m in found])


def _systems(report: Report, words: ReportWords, level: str) -> list[DocumentBlock]:
    """One row for each metric that at least one system has; then why the others are missing."""
    all_answered = all(s.summary["answered_rate"].value == 1 for s in report.systems)
    rows: list[list[str | TableCell]] = []
    reasons: dict[str, list[str]] = {}
    known = report.systems[0].summary.scores
    for name in dict.fromkeys([*report.metrics, *known]):
        scores = [s.summary[name] for s in report.systems]
        if all(s.value is None for s in scores):
            reasons.setdefault(scores[0].reason, []).append(words.metric(name))
        elif name in report.metrics and not (all_answered and name in ONLY_WITH_GAPS):
            rows.append([words.metric(name), *(_score(s, words) for s in scores)])
    title, caption = words("systems"), words("interval_note", level=level)
    header = [words("metric"), *(s.name for s in report.systems)]
    blocks: list[DocumentBlock] = [TableBlock(title, header, rows, caption)]
    if reasons:
        terms = [(reason, ", ".join(titles), "") for reason, titles in reasons.items()]
        blocks.append(Details(words("undefined"), [TermList(terms)]))
    return blocks


def _score(score: Score, words: ReportWords) -> TableCell:
    value, bracket, interval = words.score(score).partition(" [")
    return TableCell(value, bracket.strip() + interval, score.reason or score.note)


def _percent(value: float | None) -> str:
    return "" if value is None else format_value(value, "share")


def _p(value: float | None) -> str:
    return "" if value is None else p_text(value)


def _comparison(
    c: PairwiseComparison, line: str, title: str, words: ReportWords
) -> list[DocumentBlock]:
    header = [words("metric"), c.a, c.b, words("compared", a=c.a, b=c.b), words("p")]
    rows: list[list[str | TableCell]] = []
    for d in c.differences:
        name = words.metric(d.metric, d.title)
        if d.delta is None:
            rows.append([name, TableCell("", d.note, span=4)])
        else:
            rows.append([name, d.a.text(), d.b.text(), d.text(), _p(d.p_value)])
    blocks: list[DocumentBlock] = [
        Paragraph(line, "decision"),
        *map(Paragraph, design(c, words)),
        TableBlock(title, header, rows),
    ]
    if c.slices:
        blocks.append(Heading(words("slices")))
    for name, found in c.slices.items():
        blocks.append(_slices(name, found, c, words))
    if c.mcnemar is not None:
        kinds = [f.kind for f in c.flips]
        counts = words("flips_count", **{kind: kinds.count(kind) for kind in FLIPS})
        # The first of each kind, so that many of one kind do not hide the others.
        shown = [f for kind, n in FLIPS.items() for f in [f for f in c.flips if f.kind == kind][:n]]
        columns = [words("gold"), c.a, c.b]
        blocks += [
            Heading(words("flips")),
            Paragraph(counts),
            RowList(columns, [_flip(f, c, words) for f in shown]),
            *_more(len(c.flips) - len(shown), words),
        ]
    return blocks


def _slices(
    name: str, found: Sequence[SliceDifference], c: PairwiseComparison, words: ReportWords
) -> Details:
    difference = words("compared", a=c.a, b=c.b)
    header = [words("value"), words("rows"), c.a, c.b, difference, words("p_adjusted")]
    rows: list[list[str | TableCell]] = []
    for r in found:
        delta = signed(r.delta, "share")
        if r.interval is not None:
            low, high = signed(r.interval.low, "share"), signed(r.interval.high, "share")
            delta += f" [{low}, {high}]"
        rows.append(
            [
                r.value,
                str(r.n),
                _percent(r.a),
                _percent(r.b),
                TableCell(delta, r.note),
                _p(r.p_adjusted),
            ]
        )
    title = words("by", name=words("class") if name == "class" else name)
    return _details(title, [TableBlock(title, header, rows)], len(found), opened=True)


def _details(title: str, blocks: Sequence[DocumentBlock], rows: int, *, opened: bool) -> Details:
    return Details(f"{title} ({rows})", blocks, opened and rows <= OPEN_ROWS)


def _flip(f: Flip, c: PairwiseComparison, words: ReportWords) -> RowEntry:
    sides = ((c.a, f.a, f.p_a, f.extra_a), (c.b, f.b, f.p_b, f.extra_b))
    panels = [
        Panel(f"{name}: {answer}", _gold_probability(p, words), extra)
        for name, answer, p, extra in sides
    ]
    return RowEntry(f.id, (f.gold, f.a, f.b), panels, f.kind, words(f.kind))


def _gold_probability(p: float | None, words: ReportWords) -> str:
    return "" if p is None else f"{words('p_gold')}: {_percent(p)}"


def _more(n: int, words: ReportWords) -> list[DocumentBlock]:
    return [Paragraph(words("more", n=n), "soft")] if n > 0 else []


def _system(s: SystemReport, words: ReportWords, *, is_first: bool) -> list[DocumentBlock]:
    classes: list[list[str | TableCell]] = []
    for c in s.summary.classes:
        scores = [
            TableCell(words.score(x), tip=x.reason or x.note) for x in (c.precision, c.recall, c.f1)
        ]
        classes.append([c.label, str(c.support), str(c.answered), *scores])
    header = ("label", "rows", "answered_with", "precision", "recall")
    table = TableBlock(words("classes"), [*map(words, header), "F1"], classes)
    blocks: list[DocumentBlock] = [
        _details(words("classes"), [table], len(classes), opened=is_first)
    ]
    matrix = s.summary.confusion
    if len(matrix.labels) <= MATRIX_LABELS:
        blocks.append(Details(words("confusion"), [_matrix(matrix, words)], is_first))
    if confusions := matrix.top_confusions():
        title = words("top_confusions")
        pairs = [[gold, _answer(answer, matrix, words), str(n)] for gold, answer, n in confusions]
        columns = [words("gold"), words("answer"), words("rows")]
        table = TableBlock(title, columns, pairs, text_columns=(0, 1))
        blocks.append(Details(title, [table]))
    blocks += [_values(name, v, words, is_first) for name, v in s.summary.slices.items()]
    blocks.append(Heading(words("worst")))
    if not s.worst:
        return [*blocks, Paragraph(words("no_errors"))]
    columns = [words("gold"), words("answer"), words("confidence")]
    rows = RowList(columns, [_worst(w, words) for w in s.worst])
    return [*blocks, rows, *_more(s.wrong - len(s.worst), words)]


def _values(
    name: str, values: Mapping[str, Mapping[str, Score]], words: ReportWords, is_first: bool
) -> Details:
    """The scores of each value of a slicing."""
    metrics = next(iter(values.values()))
    header = [words("value"), *(words.metric(m) for m in metrics)]
    rows: list[list[str | TableCell]] = [
        [value, *(TableCell(words.score(x), tip=x.reason) for x in scores.values())]
        for value, scores in values.items()
    ]
    title = words("by", name=name)
    return _details(title, [TableBlock(title, header, rows)], len(rows), opened=is_first)


def _worst(w: WrongRow, words: ReportWords) -> RowEntry:
    values = (w.gold, w.answer, _percent(w.confidence) or "–")
    return RowEntry(w.id, values, [Panel("", _gold_probability(w.p_gold, words), w.extra)])


def _answer(answer: str, m: ConfusionMatrix, words: ReportWords) -> str:
    if answer != m.no_answer:
        return answer
    said = words("no_answer")
    return said if said not in m.labels else f"[{said}]"


def _matrix(m: ConfusionMatrix, words: ReportWords) -> TableBlock:
    """The counts, shaded by their share of the row."""
    columns = m.columns if m.counts[:, -1].any() else m.labels
    rows: list[list[str | TableCell]] = []
    for i, label in enumerate(m.labels):
        total = max(1, int(m.counts[i].sum()))
        cells = []
        for j, n in enumerate(m.counts[i, : len(columns)].tolist()):
            shade = min(4, -(-4 * n // total))
            cells.append(
                TableCell(str(n), mark=f"{'hit' if i == j else 'miss'}{shade}" if n else "")
            )
        rows.append([label, *cells])
    header = ["", *(_answer(c, m, words) for c in columns)]
    title, note = words("confusion"), words("confusion_note")
    return TableBlock(title, header, rows, note, matrix=True)


def sentences(report: Report, words: ReportWords) -> list[str]:
    """The results in sentences, most important first; without the decisions."""
    first, *others = report.systems
    summary = first.summary
    accuracy = summary["accuracy"]
    found = [words("s_best", name=first.name, value=accuracy.text(), rows=f"{summary.rows:,}")]
    for s in others:
        value = s.summary["accuracy"].text()
        found.append(words("s_worse_than", name=s.name, value=value))
    found += _unanswered(first, words)
    found += _overconfidence(first, words)
    found += _coverage(first, words)
    found += _weakest(first, words)
    for gold, answer, n in summary.confusion.top_confusions(1):
        said = _answer(answer, summary.confusion, words)
        found.append(words("s_confusion", name=first.name, gold=gold, answer=said, n=n))
    return found


def _unanswered(s: SystemReport, words: ReportWords) -> list[str]:
    counts = {
        status: round((s.summary[f"{status}_rate"].value or 0.0) * s.summary.rows)
        for status in ("abstained", "invalid", "failed")
    }
    total = sum(counts.values())
    if not total:
        return []
    parts = ", ".join(words(f"s_{status}", n=n) for status, n in counts.items() if n)
    return [words("s_unanswered", name=s.name, n=total, parts=parts)]


def _overconfidence(s: SystemReport, words: ReportWords) -> list[str]:
    """A sentence on over- or underconfidence, if the mean confidence is outside the interval of the
    accuracy.
    """
    accuracy, mean = s.summary["accuracy_answered"], s.mean_confidence
    if mean is None or accuracy.value is None or accuracy.interval is None:
        return []
    if mean in accuracy.interval:
        return []
    key = "s_confident" if mean > accuracy.value else "s_modest"
    values = {"confidence": _percent(mean), "accuracy": _percent(accuracy.value)}
    return [words(key, name=s.name, **values)]


def _coverage(s: SystemReport, words: ReportWords) -> list[str]:
    """A sentence on the coverage at half the error rate, if it is at least a tenth of the rows."""
    if isinstance(s.risk, Undefined):
        return []
    whole = float(s.risk.risk[-1])
    found = s.risk.coverage_at(whole / 2)
    if whole == 0 or found is None or found[0] < 0.1:
        return []
    coverage, threshold = found
    at = int((s.risk.coverage <= coverage + 1e-12).sum()) - 1
    values = {
        "coverage": coverage,
        "threshold": threshold,
        "risk": float(s.risk.risk[at]),
        "all": whole,
    }
    return [words("s_coverage", name=s.name, **{k: _percent(v) for k, v in values.items()})]


def _weakest(s: SystemReport, words: ReportWords) -> list[str]:
    """A sentence on the slice of lowest accuracy, if its interval lies below the overall one."""
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
    text, n = score.text(), score.n
    return [words("s_slice", name=s.name, slicing=slicing, value=value, score=text, n=n)]


def design(c: PairwiseComparison, words: ReportWords) -> list[str]:
    """The design of the comparison: paired or not, sequential or not, and its power."""
    found = []
    m, s = c.mcnemar, c.sequential
    if m is None:
        found.append(words("unpaired", a=c.a, b=c.b))
    else:
        counts = {"both": m.both, "only_a": m.only_a, "only_b": m.only_b, "neither": m.neither}
        key = "paired_table" if s is None else "paired_counts"
        found.append(words(key, a=c.a, b=c.b, p=p_text(m.p_value), **counts))
    if s is not None:
        level = f"{100 * s.level:g}"
        found.append(words("sequential", rows=f"{s.rows:,}", level=level, p=p_text(s.p_value)))
    elif c.minimum_effect is not None:
        key = "effect_note" if m is not None else "effect_note_unpaired"
        found.append(words(key, effect=f"{100 * c.minimum_effect:.1f}"))
    return found


def decision(c: PairwiseComparison, words: ReportWords) -> str:
    """The decision in the report's language."""
    d, verdict = c.differences[0], c.decision.verdict
    if words.language == "en" or d.delta is None or d.interval is None:
        return c.decision.text

    def bracket(low: float, high: float) -> str:
        edges = [signed(x, d.unit).replace("+", "") for x in (low, high)]
        return f"[{edges[0]}, {edges[1]}]"

    if verdict in ("equivalent", "undecided"):
        interval = bracket(d.interval.low, d.interval.high)
        return words(f"d_{verdict}", a=c.a, b=c.b, interval=interval)
    winner, loser = (c.b, c.a) if verdict == "b better" else (c.a, c.b)
    value = signed(abs(d.delta), d.unit).replace("+", "")
    key = "points_of" if d.unit == "share" else "value_of"
    size = words(key, value=value, metric=words.metric(d.metric, d.title))
    interval = bracket(*sorted((abs(d.interval.low), abs(d.interval.high))))
    return words("d_better", winner=winner, loser=loser, size=size, interval=interval)
