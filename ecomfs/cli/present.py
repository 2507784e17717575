"""Prints results on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import console
from rich.table import Column, Table
from rich.text import Text

from ecomfs.core.options import NO_MODEL
from ecomfs.errors import printable

if TYPE_CHECKING:
    from ecomfs.batch import AnswerCounts, ScoreResult, Tally
    from ecomfs.errors import StoppedError
    from ecomfs.estimators import Classifier
    from ecomfs.fit import Profile
    from ecomfs_eval import Predictions
    from ecomfs_eval.structure import LabelKind


class Console(console.Console):
    """A Rich console that escapes control characters in all texts."""

    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        """Called by Rich for every text."""
        return super().render_str(printable(text), *args, **options)


def plain(text: str, *, stderr: bool = False) -> None:
    """Print text without markup, colours and added line breaks."""
    Console(stderr=stderr).print(text, highlight=False, markup=False, soft_wrap=True)


def show_table(
    columns: Iterable[str | Column], rows: Iterable[Sequence[str | Text]], **how: Any
) -> None:
    """Print a table; ``how`` is for :class:`rich.table.Table`. A text is printed as it is: labels,
    columns and commands may have brackets, which Rich would take for styles."""
    table = Table(*columns, **how)
    for row in rows:
        table.add_row(*row)
    _print_table(table)


def _print_table(table: Table) -> None:
    Console(markup=False, emoji=False).print(table)


def note(text: str) -> None:
    """Print text on standard error, so that standard output can be piped."""
    plain(text, stderr=True)


def guarantee_lines(found: Mapping[str, Any]) -> list[str]:
    """The thresholds of the guarantees in a profile, one line each."""
    lines = []
    for name, what in (("skip", "answered without the model"), ("accept", "accepted")):
        seen = found.get(name)
        if seen is not None:
            lines.append(
                f"{what}: confidence of {seen['value']:.3f} or more, {seen['share']:.0%} of "
                f"{seen['rows']} rows, {seen['error']:.1%} of these wrong"
            )
    return lines


def notes_of(fitted: Classifier) -> list[str]:
    """The notes of a fit, and a note on labels with few examples, one line each."""
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.fit import rare_labels

    if not isinstance(fitted, FewShotClassifier):
        return [f"note: {line}" for line in fitted.notes_]
    profile = fitted.profile_
    noted = [] if profile is None else [*profile.found["notes"]]
    return [f"note: {n}" for n in dict.fromkeys([*noted, rare_labels(fitted.pipeline_)]) if n]


def summary(result: ScoreResult, n_examples: int, k: int, spec: str) -> None:
    """Print the summary of a run with ``k`` demonstrations per prompt on standard error."""
    tally = result.tally
    counts = " · ".join(f"{n} {name}" for name, n in tally.status.items() if n)
    lines = [f"{tally.rows} rows ({counts})", *_sources(tally)]
    lines += filter(None, [result.answers.unread(tally.rows), _answers(result.answers)])
    how = f"{_shots(n_examples, k)} · {spec}"
    if spec == NO_MODEL:
        how = f"{labelled(n_examples)} · no model, experts alone"
    lines += [f"{how} · wrote {result.output}"]
    lines += marks(result.numbers)
    if result.failed is not None:
        lines += [f"failed rows, with reasons: {result.failed} (can be scored again)"]
    note("\n".join(lines))


def profile_of(fitted: Classifier) -> Profile | None:
    """The profile with the accuracy of model and experts; for a hierarchy, that of level one;
    ``None`` for several labels per row."""
    from ecomfs.estimators.taxonomy import TaxonomyProfile
    from ecomfs.fit import Profile

    found = fitted.profile_
    if isinstance(found, TaxonomyProfile):
        return found.parents
    return found if isinstance(found, Profile) else None


def without_model(fitted: Profile | None, rows: int) -> str:
    """One line on the accuracy and the cost of the model for some rows, as far as the profile has
    them."""
    from ecomfs.batch.runlog import last_rate

    if fitted is None or "fused" not in fitted.found["loss"]:
        return "to see what a model would add and cost: run ecomfs fit, then use its --profile"
    found = fitted.found
    with_it, alone = (
        f"accuracy {found['accuracy'][step]:.1%} and log loss {found['loss'][step]:.3f}"
        for step in ("fused", "experts")
    )
    rate = found.get("rate") or last_rate(fitted.fitted_on.engine, "read")
    cost = "how long it would take is not known"
    if rate:
        cost = f"it would read {rows:,} rows in about {duration(rows / rate)} ({rate:.1f} rows/s)"
    return (
        f"no model: in the fit, on {found['readings']} examples left out, the experts alone had "
        f"{alone}, with {found.get('engine') or 'the model'} {with_it}; {cost}"
    )


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in a few characters.

    >>> duration(80), duration(600), duration(9000)
    ('80 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _answers(answers: AnswerCounts) -> str:
    """Rows per label, mean confidence, and rows that need review."""
    most = answers.labels.most_common()
    parts = [", ".join(f"{label} {n}" for label, n in most[:LABELS_SHOWN]) or "no row has a label"]
    if len(most) > LABELS_SHOWN:
        parts[0] += f", {len(most) - LABELS_SHOWN} more labels"
    if answers.confidence is not None:
        parts.append(f"mean confidence {answers.confidence:.2f}")
    parts.append(f"{answers.review} need review")
    if answers.suspicious:
        parts.append(f"{answers.suspicious} suspicious")
    return " · ".join(parts)


def marks(numbers: Mapping[str, str]) -> list[str]:
    """The decimal marks of columns, one line.

    >>> marks({"price": "decimal comma", "weight": "decimal comma", "age": "decimal point"})
    ['numbers: decimal comma in price, weight; decimal point in age']
    """
    columns: dict[str, list[str]] = {}
    for column, mark in numbers.items():
        columns.setdefault(mark, []).append(column)
    found = "; ".join(f"{mark} in {', '.join(names)}" for mark, names in columns.items())
    return [f"numbers: {found}"] if found else []


def _sources(tally: Tally) -> list[str]:
    """The sources of the predictions. The speed counts only rows that the engine read."""
    parts = []
    if tally.read:
        parts.append(f"{tally.read} read by the model")
        if tally.rate is not None:
            parts[-1] += f" at {tally.rate:.1f} rows/s"
        if tally.cache_share:
            parts[-1] += f", {tally.cache_share:.0%} of {tally.prompt_tokens:,} tokens reused"
    for number, name in (
        (tally.remembered, "from the reading cache"),
        (tally.copied, "identical to another row"),
        (tally.resumed, "done before the interruption"),
        (tally.left_out, "left out by --where or --sample"),
    ):
        if number:
            parts.append(f"{number} {name}")
    return [" · ".join(parts)] if parts else []


def stopping(number: int | None, error: StoppedError | None = None) -> None:
    """Print that a run is stopping or, given the error, that it has stopped."""
    if error is None:
        note("stopping after the prompts in flight (Ctrl-C again stops at once)")
    else:
        note("\n".join(["stopped", *getattr(error, "__notes__", ())]))


def labelled(n_examples: int) -> str:
    """The number of labelled examples, in words.

    >>> labelled(0), labelled(16)
    ('zero-shot: no labelled examples', '16 labelled examples')
    """
    return f"{n_examples} labelled examples" if n_examples else "zero-shot: no labelled examples"


def _shots(n_examples: int, k: int) -> str:
    if not n_examples:
        return labelled(0)
    return f"{labelled(n_examples)} · k = {k}" + ("" if k else " (zero-shot prompts)")


LABELS_SHOWN = 12
"""Most labels whose rows are counted in the summary."""
TITLES = {
    "accuracy": "accuracy",
    "level_accuracy@1": "level 1",
    "f1_hierarchical": "hierarchical F1",
    "f1_micro": "micro-F1",
    "f1_macro": "macro-F1",
    "roc_auc": "AUC",
    "log_loss": "log loss",
    "ece_adaptive": "ECE",
    "subset_accuracy": "subset accuracy",
    "jaccard": "Jaccard",
    "hamming_loss": "Hamming loss",
}
"""Metric of the harness → its title on the terminal."""


def usual_metrics(kind: LabelKind) -> dict[str, str]:
    """The metrics shown for labels of a kind: metric → title.

    >>> usual_metrics("flat")
    {'accuracy': 'accuracy', 'f1_macro': 'macro-F1', 'roc_auc': 'AUC', 'log_loss': 'log loss'}
    """
    from ecomfs_eval.metrics import USUAL

    return {name: TITLES[name] for name in USUAL[kind] if name != "ece_adaptive"}


def metrics_table(
    systems: Mapping[str, Predictions],
    n_examples: int | None,
    *,
    seed: int = 0,
    shown: Mapping[str, str] | None = None,
    notes: bool = False,
) -> dict[str, dict[str, Any]]:
    """Print the main metrics with 95 % intervals, one line per system.

    Args:
        n_examples: number of labelled examples; ``None``: unknown.
        shown: metric of the harness → title; by default :func:`usual_metrics`.
        notes: also print the notes of the metrics: rows left out, units resampled, why a value
            is undefined.

    Returns:
        System → metric → value, interval and notes, for ``--json``.
    """
    from ecomfs.evaluation.evaluate import ANSWERED
    from ecomfs_eval import Bootstrap, get_metric, scores

    first = next(iter(systems.values()))
    shown = usual_metrics(first.kind) if shown is None else shown
    abstains = any("abstained" in p.status for p in systems.values())
    if abstains:
        # A guarantee of precision holds for the rows that were answered, not for all.
        shown = {**shown, **ANSWERED}
    had = "" if n_examples is None else f" · {labelled(n_examples)}"
    table = Table(
        title=f"n = {len(first)} rows with a true label{had} · 95 % intervals", title_justify="left"
    )
    for column in ("system", *shown.values()):
        table.add_column(column)
    how = Bootstrap(seed=seed)
    remarks: dict[str, dict[str, list[str]]] = {}  # note → metric → systems
    out: dict[str, dict[str, Any]] = {}
    for name, predictions in systems.items():
        found = scores({key: get_metric(key) for key in shown}, predictions, how)
        out[name] = {key: score.to_dict() for key, score in found.items()}
        table.add_row(name, *(found[key].text() for key in shown))
        for key, score in found.items():
            for text in filter(None, [score.reason, *score.note.split("; ")]):
                remarks.setdefault(text, {}).setdefault(shown[key], []).append(name)
    _print_table(table)
    if abstains:
        plain("rows that abstained count as wrong, except in the precision among the answered")
    if notes:
        for text, places in remarks.items():
            named = "; ".join(
                metric if len(names) == len(systems) else f"{metric} of {', '.join(names)}"
                for metric, names in places.items()
            )
            everywhere = named == "; ".join(shown.values())
            where = "" if everywhere else f" ({named})"
            plain(f"note: {text}{where}")
    return out


def counts(result: ScoreResult) -> dict[str, Any]:
    """The counts of one table, for ``--json``."""
    tally, answers = result.tally, result.answers
    return {
        "output": result.output,
        "rows": tally.rows,
        "status": dict(tally.status),
        "labels": dict(answers.labels),
        "confidence": answers.confidence,
        "review": answers.review,
        "suspicious": answers.suspicious,
        "decided": answers.decided,
        "read": tally.read,
        "from_cache": tally.remembered,
        "copied": tally.copied,
        "resumed": tally.resumed,
        "left_out": tally.left_out,
        "failed": result.failed,
    }


def structured_table(
    systems: Mapping[str, Predictions], n_examples: int, seed: int
) -> dict[str, Any]:
    """:func:`metrics_table` for several labels per row and for hierarchies, with the paired
    differences of the first system from the others."""
    from ecomfs_eval import Bootstrap, get_metric
    from ecomfs_eval.compare import differences

    first, *others = systems.values()
    shown = usual_metrics(first.kind)
    out: dict[str, Any] = metrics_table(systems, n_examples, seed=seed, shown=shown)
    metrics = [get_metric(name) for name in shown]
    for other in others:
        found = differences(other, first, metrics, Bootstrap(seed=seed))
        plain(
            f"{first.name} − {other.name}: "
            + ", ".join(f"{shown[d.metric]} {d.text()}" for d in found)
        )
    silent = sum(~first.answered)
    if silent and first.kind == "sets":
        plain(f"{silent} rows of {first.name} have no prediction; they count as having no label")
    return out
