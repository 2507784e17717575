"""Compares the variants of split live traffic, from its log and true labels that came later.

Each row went to only one variant, so the comparison is unpaired. It is unbiased because the variant
was assigned by a hash of the id, independent of the content of the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecomfs.ab.outcome import Outcome, outcome
from ecomfs.ab.rows import GoldLabels
from ecomfs.ab.run import Design
from ecomfs.errors import EmptyInputError
from ecomfs.evaluation.harness import harness_errors, to_harness
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.traffic import LoggedPrediction, TrafficRecord, TrafficSplit
from ecomfs_eval import Predictions
from ecomfs_eval.compare import compare_arms

UNLIKELY = 0.001
"""P-value below which the group sizes do not match the weights (sample ratio mismatch)."""


@harness_errors()
def compare_log(
    log: TrafficRecord, gold: GoldLabels, card: TaskCard, design: Design, *, where: str = "gold"
) -> Outcome:
    """Compare the variants of split live traffic with the first one. Variants without a labelled
    row are left out, with a note.

    Args:
        card: the task of the log.
        design: the design; ``sequential`` cannot be used with logs.
        where: name of the gold labels in error messages.

    Raises:
        UnknownLabelError: a true label that the service did not have.
        EmptyInputError: no logged row has a true label, or only rows of one variant have.
        InputError, ConfigError: the harness refuses the rows, or the design.

    >>> from ecomfs.task import load_task
    >>> from ecomfs.traffic import LoggedStart
    >>> from ecomfs.types import Prediction
    >>> labels = ("positive", "negative")
    >>> start = LoggedStart(task="t", labels=labels, weights={"A": 1, "B": 1}, seed=0)
    >>> sure = {"positive": 1.0}
    >>> entries = tuple(
    ...     LoggedPrediction.of("AB"[i % 2], "en", Prediction(str(i), "positive", sure))
    ...     for i in range(40))
    >>> gold = GoldLabels({str(i): "positive" if i % 2 else "negative" for i in range(40)}, {}, 0)
    >>> found = compare_log(TrafficRecord((start,), entries, 0, 0, 0), gold,
    ...                     load_task("review_sentiment"), Design())
    >>> {name: scores["accuracy"].value for name, scores in found.scores.items()}
    {'A': 0.0, 'B': 1.0}
    """
    last = log.starts[-1]
    # The pool may have got new labels while it was served.
    known = dict.fromkeys([*last.labels, *(name for e in log.entries for name in e.probabilities)])
    space = LabelSpace.resolve(card, known, "the log")
    by: dict[str, list[LoggedPrediction]] = {name: [] for name in last.weights}
    for entry in log.entries:
        if entry.id in gold.labels:
            by.setdefault(entry.variant, []).append(entry)
    empty = [name for name, entries in by.items() if not entries]
    if len(empty) == len(by):
        raise EmptyInputError(
            f"{where}: none of the {len(gold.labels):,} ids is in the log",
            hint="use the ids that were sent to the service; see --id-column",
        )
    if len(by) - len(empty) < 2:
        raise EmptyInputError(
            f"{where}: no gold labels for rows of {', '.join(empty)}",
            hint="label rows of at least two variants",
        )
    systems = [
        _arm(name, entries, gold, space, design, where) for name, entries in by.items() if entries
    ]
    result = compare_arms(systems, primary=design.primary, margin=design.margin, how=design.how)
    notes = _notes(log, gold, by, design)
    about = {
        "design": "unpaired",
        "task": last.task,
        "seed": design.seed,
        "alpha": design.alpha,
        "margin": design.margin,
        "rows": sum(len(s) for s in systems),
        "split": {"weights": last.weights, "seed": last.seed},
        "variants": {name: {"source": last.variants.get(name, "")} for name in by},
    }
    return outcome(systems, result, design.how, notes=notes, about=about)


def _arm(
    name: str,
    entries: Sequence[LoggedPrediction],
    gold: GoldLabels,
    space: LabelSpace,
    design: Design,
    where: str,
) -> Predictions:
    if not design.failed_as_wrong:
        entries = [e for e in entries if e.status != "failed"]
        if not entries:
            raise EmptyInputError(f"every labelled row of variant {name!r} failed")
    truth = [
        space.names[space.require(gold.labels[e.id], f"{where}, row {e.id!r}")] for e in entries
    ]
    names = space.names
    return to_harness(
        entries,
        truth,
        names,
        ids=[e.id for e in entries],
        slices={
            "language": tuple(e.language for e in entries),
            **{c: tuple(values[e.id] for e in entries) for c, values in gold.slices.items()},
        },
        extra={"error": tuple(e.error for e in entries)},
        name=name,
    )


def _notes(
    log: TrafficRecord,
    gold: GoldLabels,
    by: Mapping[str, Sequence[LoggedPrediction]],
    design: Design,
) -> list[str]:
    last = log.starts[-1]
    notes = [f"{n}: {text}" for n, text in last.variants.items() if text]
    notes.append(
        "Unpaired: each row was classified by one variant, assigned by a hash of its id "
        f"(weights {', '.join(f'{n} {w:g}' for n, w in last.weights.items())}; seed {last.seed})."
    )
    ids = {e.id for e in log.entries}
    counts = {
        "logged rows without a gold label": len(ids - set(gold.labels)),
        "gold labels of rows that are not in the log": len(set(gold.labels) - ids),
        "rows of the gold file without a label": gold.unlabelled,
        "repeated predictions of an id, only the first counts": log.repeated,
        "ids classified by several variants, left out": log.crossed,
        "lines of the log that cannot be read": log.unreadable,
    }
    notes += [f"{n:,} {what}." for what, n in counts.items() if n]
    if empty := [name for name, entries in by.items() if not entries]:
        first = next(name for name, entries in by.items() if entries)
        notes.append(
            f"WARNING: no labelled rows of {', '.join(empty)}, left out; the others are compared "
            f"with {first}."
        )
    failed = {n: sum(e.status == "failed" for e in entries) for n, entries in by.items()}
    if any(failed.values()):
        what = "count as wrong" if design.failed_as_wrong else "are left out"
        shown = ", ".join(f"{n} {count}" for n, count in failed.items())
        notes.append(f"Rows that failed {what} ({shown}).")
    warning = _mismatch(log)
    return [*notes, warning] if warning else notes


def _mismatch(log: TrafficRecord) -> str:
    """A warning if the group sizes do not match the weights (sample ratio mismatch; chi-square,
    p < 0.001): more rows were lost in one group than in another, and the comparison is biased.
    Empty if they match, or if the weights were changed during the test."""
    from scipy.stats import chisquare

    splits = {(tuple(s.weights.items()), s.seed) for s in log.starts}
    if len(splits) != 1:
        return ""
    shares = TrafficSplit(log.starts[-1].weights).shares
    sizes = [sum(e.variant == name for e in log.entries) for name in shares]
    total = sum(sizes)
    if not total or float(chisquare(sizes, [s * total for s in shares.values()]).pvalue) > UNLIKELY:
        return ""
    shown = ", ".join(
        f"{n} {size:,} instead of {share * total:,.0f}"
        for (n, share), size in zip(shares.items(), sizes, strict=True)
    )
    return (
        f"WARNING: the group sizes do not match the weights ({shown}); find out which rows are "
        "lost before you trust the comparison."
    )
