"""Offline evaluation of a live split: the log of the service, and gold labels that came later.

Each row went to one variant only, so the comparison is unpaired; what makes it fair is that the
variant was drawn by a hash of the id, not by anything about the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecomfs.batch.harness import harness_errors, to_harness
from ecomfs.compare.outcome import Outcome, outcome
from ecomfs.compare.rows import MOST_VALUES
from ecomfs.compare.run import Design
from ecomfs.errors import ConfigError, DuplicateIdError, EmptyInputError, InputError
from ecomfs.table import TableReader, text_encoding
from ecomfs.task import LabelSpace, TaskCard, column_labels, find_column
from ecomfs.traffic import Entry, Split, TrafficRecord
from ecomfs_eval import Predictions
from ecomfs_eval.compare import compare_arms

UNLIKELY = 0.001
"""P-value under which the arms' sizes are not what the weights say."""


@dataclass(frozen=True, slots=True)
class GoldLabels:
    """Attributes:
    labels: row id → true label, as its file spells it.
    slices: column → row id → value.
    unlabelled: rows of the file that have no label yet.
    """

    labels: Mapping[str, str]
    slices: Mapping[str, Mapping[str, str]]
    unlabelled: int


def read_gold(
    path: Path,
    card: TaskCard,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    slice_columns: Sequence[str] = (),
    encoding: str | None = None,
) -> GoldLabels:
    """True labels by row id.

    Args:
        encoding: of a table that is not UTF-8; found out by default.

    Raises:
        InputError: the file, its columns or a row; an id that is there twice.
        EmptyInputError: no row has a label.
    """
    reader = TableReader(path, encoding=text_encoding(path, encoding))
    name = path.name
    label = find_column(reader.header, label_column, card.label_column, name, "--label-column ")
    id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), "id")
    reader.require(id_name, *slice_columns)
    labels: dict[str, str] = {}
    lines: dict[str, int] = {}
    slices: dict[str, dict[str, str]] = {column: {} for column in slice_columns}
    rows = []
    for row in reader.rows():
        where = f"{name}, line {row.line}"
        if row.error:
            raise InputError(f"{name}, {row.error}")
        id_ = row.cells[id_name]
        if not id_:
            raise InputError(f"{where}: column {id_name!r} is empty")
        if id_ in lines:
            raise DuplicateIdError(
                f"{where}: id {id_!r} is already used on line {lines[id_]}",
                hint="one true label a row",
            )
        lines[id_] = row.line
        rows.append(row)
    places = [f"{name}, line {row.line}" for row in rows]
    found = column_labels([row.cells[label] for row in rows], places, label)
    for row, text in zip(rows, found, strict=True):
        if text is None:
            continue
        id_ = row.cells[id_name]
        labels[id_] = text
        for column, values in slices.items():
            values[id_] = row.cells[column].strip()
    if not labels:
        raise EmptyInputError(f"{name}: no row has a label", hint="label some rows first")
    for column, values in slices.items():
        if (n := len(set(values.values()))) > MOST_VALUES:
            raise ConfigError(
                f"{name}: column {column!r} has {n} values, too many to slice by",
                hint=f"name a column of categories, with at most {MOST_VALUES} values",
            )
    return GoldLabels(labels, slices, len(rows) - len(labels))


@harness_errors()
def compare_log(
    log: TrafficRecord, gold: GoldLabels, card: TaskCard, design: Design, *, where: str = "gold"
) -> Outcome:
    """Compare the variants of a live split with the first of them.

    Args:
        card: the task of the log.
        design: ``sequential`` is not for logs: decide beforehand when the labels are complete.
        where: what to call the gold labels in errors.

    Raises:
        UnknownLabelError: a true label that the service did not know.
        EmptyInputError: no logged row has a true label, or only one variant's have.
        InputError, ConfigError: the harness refuses the rows, or the design.
    """
    last = log.starts[-1]
    # A pool that grew while it was served may have brought labels that the start did not know.
    known = dict.fromkeys([*last.labels, *(name for e in log.entries for name in e.probabilities)])
    space = LabelSpace.resolve(card, known, "the log")
    by: dict[str, list[Entry]] = {name: [] for name in last.weights}
    for entry in log.entries:
        if entry.id in gold.labels:
            by.setdefault(entry.variant, []).append(entry)
    empty = [name for name, entries in by.items() if not entries]
    if len(empty) == len(by):
        raise EmptyInputError(
            f"{where}: none of its {len(gold.labels):,} ids is in the log",
            hint="ids must be those that were sent to the service; see --id-column",
        )
    if len(by) - len(empty) < 2:
        raise EmptyInputError(
            f"{where}: no gold labels for rows that {', '.join(empty)} answered",
            hint="a comparison needs labelled rows of two variants",
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
    entries: Sequence[Entry],
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
    log: TrafficRecord, gold: GoldLabels, by: Mapping[str, Sequence[Entry]], design: Design
) -> list[str]:
    last = log.starts[-1]
    notes = [f"{n}: {text}" for n, text in last.variants.items() if text]
    notes.append(
        "Unpaired: each row was answered by one variant, drawn by a hash of its id "
        f"(weights {', '.join(f'{n} {w:g}' for n, w in last.weights.items())}; seed {last.seed})."
    )
    ids = {e.id for e in log.entries}
    counts = {
        "logged rows without a gold label": len(ids - set(gold.labels)),
        "gold labels of rows that are not in the log": len(set(gold.labels) - ids),
        "rows of the gold file without a label": gold.unlabelled,
        "predictions repeated for an id, the first counts": log.repeated,
        "ids answered by several variants, left out": log.crossed,
        "lines of the log that cannot be read": log.unreadable,
    }
    notes += [f"{n:,} {what}." for what, n in counts.items() if n]
    failed = {n: sum(e.status == "failed" for e in entries) for n, entries in by.items()}
    if any(failed.values()):
        what = "count as wrong" if design.failed_as_wrong else "are left out"
        told = ", ".join(f"{n} {count}" for n, count in failed.items())
        notes.append(f"Rows that failed {what} ({told}).")
    warning = mismatch(log)
    return [*notes, warning] if warning else notes


def mismatch(log: TrafficRecord) -> str:
    """A warning when the arms' sizes are not what the weights say (chi-square, p < 0.001): rows
    are then lost in one arm more than in the other, and the comparison is not fair. Empty when
    they are, or when the weights were changed on the way."""
    from scipy.stats import chisquare

    splits = {(tuple(s.weights.items()), s.seed) for s in log.starts}
    if len(splits) != 1:
        return ""
    shares = Split(log.starts[-1].weights).shares
    sizes = [sum(e.variant == name for e in log.entries) for name in shares]
    total = sum(sizes)
    if not total or float(chisquare(sizes, [s * total for s in shares.values()]).pvalue) > UNLIKELY:
        return ""
    told = ", ".join(
        f"{n} {size:,} instead of {share * total:,.0f}"
        for (n, share), size in zip(shares.items(), sizes, strict=True)
    )
    return (
        f"WARNING: the arms are not as large as their weights say ({told}); find out which rows "
        "are lost before you trust the comparison."
    )
