"""All data sets together: plain means, and how often a difference is clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecomfs_eval.compare.differences import Difference

if TYPE_CHECKING:
    from ecomfs_eval.board.model import Group


@dataclass(frozen=True, slots=True)
class WinCounts:
    """In how many data sets main is better, and in how many its interval leaves out zero."""

    better: int
    clearly_better: int
    clearly_worse: int
    of: int

    def text(self) -> str:
        """For people.

        >>> WinCounts(6, 4, 1, 8).text()
        '6/8 (4 clear, 1 worse)'
        """
        shown = f"{self.better}/{self.of} ({self.clearly_better} clear, {self.clearly_worse} worse)"
        return shown if self.of else "–"


@dataclass(frozen=True, slots=True)
class Overall:
    """Attributes:
    size: labelled examples of the tables it is over; ``None``: of every size.
    tables: how many.
    means: system → metric → mean over the tables, every table with the same weight; ``None``
        where a table has no value. Systems that a table lacks are left out.
    against: part of main → metric → tally of main against it; of parts that all tables have.
    best: metric → tally of main against each table's best baseline.
    """

    size: int | None
    tables: int
    means: Mapping[str, Mapping[str, float | None]]
    against: Mapping[str, Mapping[str, WinCounts]]
    best: Mapping[str, WinCounts]


def overall(groups: Sequence[Group], metrics: Sequence[str]) -> tuple[Overall, ...]:
    """One for each size that several tables have, and one over all tables of several sizes."""
    sizes = sorted({g.size for g in groups})
    parts: list[tuple[int | None, list[Group]]] = [
        (size, [g for g in groups if g.size == size]) for size in sizes
    ]
    if len(sizes) > 1:
        parts.append((None, list(groups)))
    return tuple(_overall(size, part, metrics) for size, part in parts if len(part) > 1)


def _overall(size: int | None, groups: Sequence[Group], metrics: Sequence[str]) -> Overall:
    systems = [s for s in groups[0].averages if all(s in g.averages for g in groups)]
    parts = [
        s for s in groups[0].differences if ":" in s and all(s in g.differences for g in groups)
    ]
    best = [g.differences[g.best_baseline] for g in groups if g.best_baseline is not None]
    return Overall(
        size,
        len(groups),
        {s: {m: _mean([g.averages[s][m].score.value for g in groups]) for m in metrics}
         for s in systems},
        {s: {m: tally([g.differences[s][m] for g in groups]) for m in metrics} for s in parts},
        {m: tally([d[m] for d in best]) for m in metrics},
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def tally(differences: Sequence[Difference]) -> WinCounts:
    """Counts over the tables in which there is a difference to speak of."""
    gains = [d.gain for d in differences if d.gain is not None]
    verdicts = [clear(d) for d in differences]
    return WinCounts(
        sum(g > 0 for g in gains), verdicts.count(True), verdicts.count(False), len(gains)
    )


def clear(d: Difference) -> bool | None:
    """Whether the difference is a gain (``True``) or a loss beyond its interval; ``None``: it may
    be nothing."""
    if d.interval is None or not d.gain or 0 in d.interval:
        return None
    return d.gain > 0
