"""Systems in, the rows that can be compared out: in the same order, and without failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecomfs_eval._check import some
from ecomfs_eval._labels import label_order
from ecomfs_eval.errors import EmptyDataError, OptionError, RowsDifferError
from ecomfs_eval.predictions import Predictions


def pair(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """``a``, and ``b`` in the order of ``a``, over one label space.

    A label that only one system has is added to the other with probability zero. Groups, queries
    and slices that only one system has hold for both.

    Raises:
        RowsDifferError: ids, gold labels, groups or queries differ.
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
    """Both over the labels of either.

    Raises:
        RowsDifferError: labels are made of other parts.
    """
    if a.kind != b.kind:
        raise RowsDifferError(
            f"labels of {a.name} are of kind {a.kind}, those of {b.name} of kind {b.kind}",
            hint="read both by one task",
        )
    both = None
    if a.structure is not None and b.structure is not None:
        both = a.structure.merged(b.structure)
    space = (*a.labels, *label_order(set(b.labels) - set(a.labels)))
    positive = a.positive if a.positive == b.positive else None
    return a.with_labels(space, positive, both), b.with_labels(space, positive, both)


@dataclass(frozen=True, slots=True)
class ExcludedRows:
    """The rows left out of a comparison because a system failed on them.

    A failed row (no answer from the engine) contains no information about a prompt, so its pair
    contains none about the difference. An invalid answer stays in and is wrong.

    Attributes:
        rows: rows before.
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
