"""Two systems on the same rows: their rows in one order, the exact McNemar test with Holm's
correction, and the rows that they answer differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ecomfs_eval._check import some
from ecomfs_eval._labels import label_order
from ecomfs_eval.errors import EmptyDataError, OptionError, RowsDifferError
from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.predictions import Predictions

FlipKind = Literal["fixed", "broken", "changed"]


def pair(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """``a``, and ``b`` in the order of ``a``, over one label space.

    A label that only one system has is added to the other with probability zero. Groups, queries
    and slices that only one system has hold for both.

    Raises:
        RowsDifferError: ids, gold labels, groups, queries or positive classes differ.
        OptionError: both have the same name.

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y"], ["x", "x"], ids=["1", "2"], name="A")
    >>> b = Predictions.of(["y", "x"], ["y", "x"], ids=["2", "1"], name="B")
    >>> pair(a, b)[1].predicted
    ('x', 'y')
    """
    if a.name == b.name:
        raise OptionError(
            f"both systems are called {a.name!r}", hint="give each Predictions its own name="
        )
    only_a = [i for i in a.ids if i not in set(b.ids)]
    only_b = [i for i in b.ids if i not in set(a.ids)]
    if only_a or only_b:
        lines = [
            f"{len(ids)} rows are in {name} only: {some(ids, 3)}"
            for name, ids in ((a.name, only_a), (b.name, only_b))
            if ids
        ]
        raise RowsDifferError("; ".join(lines), hint="both systems must answer the same rows")
    at = {i: k for k, i in enumerate(b.ids)}
    b = b.take(at[i] for i in a.ids)
    for k, (x, y) in enumerate(zip(a.gold, b.gold, strict=True)):
        if x != y:
            raise RowsDifferError(
                f"row {a.ids[k]!r} has gold label {x!r} in {a.name} and {y!r} in {b.name}",
                hint="score both against the same labels",
            )
    for what in ("groups", "queries"):
        x, y = getattr(a, what), getattr(b, what)
        if x is not None and y is not None and x != y:
            raise RowsDifferError(
                f"{a.name} and {b.name} have different {what} for the same rows",
                hint="use one column for both",
            )
    slices = {**b.slices, **a.slices}
    groups = a.groups if a.groups is not None else b.groups
    queries = a.queries if a.queries is not None else b.queries
    a = replace(a, groups=groups, queries=queries, slices=slices)
    b = replace(b, groups=groups, queries=queries, slices=slices)
    return one_space(a, b)


def one_space(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both systems over the union of their labels.

    Raises:
        RowsDifferError: the label structures or the positive classes differ.
    """
    if a.kind != b.kind:
        raise RowsDifferError(
            f"labels of {a.name} are of kind {a.kind}, those of {b.name} of kind {b.kind}",
            hint="read both with the same task",
        )
    both = None
    if a.structure is not None and b.structure is not None:
        both = a.structure.merged(b.structure)
    space = (*a.labels, *label_order(set(b.labels) - set(a.labels)))
    # The positive class of a system that has all labels; that of fewer labels is its default.
    whole = [p for p in (a, b) if len(p.labels) == len(space)]
    if len(whole) == 2 and a.positive != b.positive:
        raise RowsDifferError(
            f"the positive class of {a.name} is {a.positive!r}, that of {b.name} {b.positive!r}",
            hint="name the same positive= for both",
        )
    same = a.positive if a.positive == b.positive else None
    positive = whole[0].positive if whole else same
    return a.with_labels(space, positive, both), b.with_labels(space, positive, both)


@dataclass(frozen=True, slots=True)
class ExcludedRows:
    """The rows left out of a comparison because a system failed on them.

    A failed row (no answer from the engine) says nothing about a prompt, and its pair nothing about
    the difference. An invalid answer is kept and counts as wrong.

    Attributes:
        rows: number of rows before.
        ids: rows in which at least one system failed.
        by: system → its failed rows.
    """

    rows: int
    ids: tuple[str, ...]
    by: Mapping[str, int]

    def text(self) -> str:
        """One line; empty when no row was left out.

        >>> ExcludedRows(60, ("r7", "r9"), {"A": 0, "B": 2}).text()
        '2 of 60 rows left out of the comparison, because a variant failed on them (A 0, B 2)'
        """
        if not self.ids:
            return ""
        counts = ", ".join(f"{name} {n}" for name, n in self.by.items())
        return (
            f"{len(self.ids):,} of {self.rows:,} rows left out of the comparison, because a "
            f"variant failed on them ({counts})"
        )


def complete(systems: Sequence[Predictions]) -> tuple[tuple[Predictions, ...], ExcludedRows]:
    """The systems on the rows on which none of them failed.

    Raises:
        EmptyDataError: no such row is left.

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y"], ["x", "x"], name="A")
    >>> b = Predictions.of(["x", "y"], ["x", None], status=["ok", "failed"], name="B")
    >>> (a, b), out = complete([a, b])
    >>> a.ids, out.ids, out.by
    (('1',), ('2',), {'A': 0, 'B': 1})
    """
    failed = {
        s.name: [i for i, t in zip(s.ids, s.status, strict=True) if t == "failed"] for s in systems
    }
    out = frozenset(id_ for ids in failed.values() for id_ in ids)
    rows = len(systems[0]) if systems else 0
    excluded = ExcludedRows(
        rows,
        tuple(i for i in (systems[0].ids if systems else ()) if i in out),
        {name: len(ids) for name, ids in failed.items()},
    )
    if not out:
        return tuple(systems), excluded
    if rows and all(i in out for i in systems[0].ids):
        first = next(
            (
                s.extra["error"][s.ids.index(ids[0])]
                for s in systems
                if (ids := failed[s.name]) and "error" in s.extra
            ),
            "",
        )
        raise EmptyDataError(
            f"no row is left to compare: {excluded.text()}; {some(excluded.ids, 3)}",
            hint=first or "look up the errors of the failed rows",
        )
    return tuple(s.take(k for k, i in enumerate(s.ids) if i not in out) for s in systems), excluded


@dataclass(frozen=True, slots=True)
class McNemar:
    """The paired table and its test.

    Attributes:
        both: number of rows that both have right.
        only_a, only_b: rows that only one has right (the discordant rows).
        neither: rows that both have wrong.
        p_value: two-sided exact p-value of "discordant rows are equally likely either way"; 1
            when there are none.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float

    @property
    def discordance(self) -> float:
        """Share of rows that exactly one of the two has right."""
        rows = self.both + self.only_a + self.only_b + self.neither
        return (self.only_a + self.only_b) / rows


def exact_p(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of a discordant split.

    Source: McNemar 1947, doi:10.1007/BF02295996; the exact form is a sign test (scipy).

    >>> round(exact_p(3, 12), 4)
    0.0352
    >>> exact_p(0, 0)
    1.0
    """
    from scipy.stats import binomtest

    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b).pvalue)


def mcnemar(a: Predictions, b: Predictions) -> McNemar:
    """The test on two systems' answers to the same rows in the same order (see ``pair``).

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y", "y"], ["x", "x", "x"])
    >>> b = Predictions.of(["x", "y", "y"], ["x", "y", "y"])
    >>> mcnemar(a, b)
    McNemar(both=1, only_a=0, only_b=2, neither=0, p_value=0.5)
    """
    x, y = correct(a).astype(bool), correct(b).astype(bool)
    only_a, only_b = int((x & ~y).sum()), int((~x & y).sum())
    return McNemar(
        int((x & y).sum()), only_a, only_b, int((~x & ~y).sum()), exact_p(only_a, only_b)
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted by Holm's step-down correction, in the order given.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65–70.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(values) else steps
    return tuple(adjusted.tolist())


@dataclass(frozen=True, slots=True)
class Flip:
    """One row that both systems answer differently.

    Attributes:
        id, gold: of the row.
        kind: ``fixed`` (A wrong, B right), ``broken`` (A right, B wrong), ``changed`` (both
            wrong, differently).
        a, b: the answers; the status in brackets where there is none.
        p_a, p_b: probability each gave the gold label, or ``None``.
        extra_a, extra_b: the other text columns of the row (input, prompt, demonstrations).
    """

    id: str
    gold: str
    kind: FlipKind
    a: str
    b: str
    p_a: float | None
    p_b: float | None
    extra_a: Mapping[str, str]
    extra_b: Mapping[str, str]


def answer_text(p: Predictions, row: int) -> str:
    """The answer of a row, or its status in brackets."""
    answer = p.predicted[row]
    if p.status[row] == "ok" and answer is not None:
        return answer
    return f"[{p.status[row]}]"


def gold_probability(p: Predictions, row: int) -> float | None:
    """Probability of the gold label, or ``None`` where the row has no distribution."""
    if p.probabilities is None or not p.has_distribution[row]:
        return None
    return float(p.probabilities[row, p.labels.index(p.gold[row])])


def flips(a: Predictions, b: Predictions) -> tuple[Flip, ...]:
    """Every row with different answers: broken ones first, then fixed, then changed.

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y", "z"], ["x", "x", "x"])
    >>> b = Predictions.of(["x", "y", "z"], ["y", "y", "y"])
    >>> [(f.id, f.kind) for f in flips(a, b)]
    [('1', 'broken'), ('2', 'fixed'), ('3', 'changed')]
    """
    found: dict[FlipKind, list[Flip]] = {"broken": [], "fixed": [], "changed": []}
    left, right = a.predicted_index, b.predicted_index
    gold = a.gold_index
    for row in range(len(a)):
        x, y = answer_text(a, row), answer_text(b, row)
        if x == y:
            continue
        kind: FlipKind = "changed"
        if left[row] == gold[row]:
            kind = "broken"
        elif right[row] == gold[row]:
            kind = "fixed"
        found[kind].append(
            Flip(
                a.ids[row],
                a.gold[row],
                kind,
                x,
                y,
                gold_probability(a, row),
                gold_probability(b, row),
                {k: v[row] for k, v in a.extra.items()},
                {k: v[row] for k, v in b.extra.items()},
            )
        )
    return tuple(f for group in found.values() for f in group)
