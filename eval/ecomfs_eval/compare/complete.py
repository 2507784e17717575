"""Pairs in which a system failed, kept out of a comparison and counted.

A row that failed (the engine gave nothing at all) says nothing of a prompt, so its pair says
nothing of the difference. An invalid answer does: it stays, and is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecomfs_eval._check import some
from ecomfs_eval.errors import EmptyDataError
from ecomfs_eval.predictions import Predictions


@dataclass(frozen=True, slots=True)
class ExcludedRows:
    """What was kept out.

    Attributes:
        rows: rows there were.
        ids: rows in which at least one system failed.
        by: system → its failed rows.
    """

    rows: int
    ids: tuple[str, ...]
    by: Mapping[str, int]

    def text(self) -> str:
        """One line for people; empty when nothing was kept out.

        >>> ExcludedRows(60, ("r7", "r9"), {"A": 0, "B": 2}).text()
        '2 of 60 rows kept out of the comparison, because a variant failed on them (A 0, B 2)'
        """
        if not self.ids:
            return ""
        counts = ", ".join(f"{name} {n}" for name, n in self.by.items())
        return (
            f"{len(self.ids):,} of {self.rows:,} rows kept out of the comparison, because a "
            f"variant failed on them ({counts})"
        )


def complete(systems: Sequence[Predictions]) -> tuple[tuple[Predictions, ...], ExcludedRows]:
    """The systems on the rows in which none of them failed.

    Raises:
        EmptyDataError: no such row is left.

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y"], ["x", "x"], name="A")
    >>> b = Predictions.of(["x", "y"], ["x", None], status=["ok", "failed"], name="B")
    >>> (a, b), out = complete([a, b])
    >>> a.ids, out.ids, out.by
    (('1',), ('2',), {'A': 0, 'B': 1})
    """
    failed = {s.name: [i for i, t in zip(s.ids, s.status, strict=True) if t == "failed"]
              for s in systems}  # fmt: skip
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
            (s.extra["error"][s.ids.index(ids[0])] for s in systems
             if (ids := failed[s.name]) and "error" in s.extra), "",
        )  # fmt: skip
        raise EmptyDataError(
            f"no row is left to compare: {excluded.text()}; {some(excluded.ids, 3)}",
            hint=first or "see what the rows failed of",
        )
    return tuple(s.take(k for k, i in enumerate(s.ids) if i not in out) for s in systems), excluded
