"""The board: averages, paired differences and learning curves of a suite's runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ecomfs_eval.compare.differences import Difference
from ecomfs_eval.errors import EmptyDataError, OptionError
from ecomfs_eval.intervals import Bootstrap
from ecomfs_eval.learning_curve import LearningCurve, LearningRun, learning_curve
from ecomfs_eval.metrics import USUAL, get_metric
from ecomfs_eval.predictions import Predictions
from ecomfs_eval.repeated import Average, average, average_difference
from ecomfs_eval.report.document import Document, ReportLanguage
from ecomfs_eval.report.words import STRINGS


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """One run.

    Attributes:
        group: runs of one group are averaged: the data set, or the series of folds.
        size: number of labelled examples.
        systems: predictions of every system on the same rows, each under its own name.
        seed: seed of the draw of labelled examples.
        variant: variant of the options; runs of different variants are not averaged.
        absent: system → why it is missing.
        rule: the system that is the trivial rule of the task; empty: none is known.
    """

    group: str
    size: int
    systems: Sequence[Predictions]
    seed: int = 0
    variant: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A published result to show beside ours.

    Attributes:
        system: its name.
        metric, value: the metric, and the value in its unit.
        shots: number of labelled examples.
        source: reference of the result.
        note: differences from our conditions.
    """

    system: str
    metric: str
    value: float
    shots: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One data set with one label budget.

    Attributes:
        name, size, variant: as in its entries.
        runs: number of runs, over seeds and folds.
        rows: distinct test rows.
        averages: system → metric → average.
        main: the system that the others are compared with.
        best_baseline: of the systems that are neither ``main`` nor a part of it (``main:part``),
            the one with the best value of the first metric; ``None`` when there is none. It is
            chosen on the same rows, which favours it.
        differences: system → metric → main − system, paired: for every part of main, for the
            trivial rule and for the best baseline.
        absent: system → why it is missing.
        metrics: columns of its tables; the first decides which baseline is best.
        rule: the system that is the trivial rule of the task; empty: none is known.
    """

    name: str
    size: int
    variant: str
    runs: int
    rows: int
    averages: Mapping[str, Mapping[str, Average]]
    main: str
    best_baseline: str | None
    differences: Mapping[str, Mapping[str, Difference]]
    absent: Mapping[str, str]
    metrics: tuple[str, ...]
    rule: str = ""

    @property
    def title(self) -> str:
        """Data set and variant."""
        return f"{self.name} · {self.variant}" if self.variant else self.name


@dataclass(frozen=True, slots=True)
class WinCounts:
    """Number of data sets in which main is better, and in which its interval excludes zero."""

    better: int
    clearly_better: int
    clearly_worse: int
    of: int


@dataclass(frozen=True, slots=True)
class Overall:
    """Averages over several tables.

    Attributes:
        size: labelled examples of its tables; ``None``: every size.
        tables: number of tables.
        metrics: the metrics that all of these tables have.
        means: system → metric → mean over the tables, with equal weights; ``None`` where a table
            has no value. Systems that a table lacks are left out.
        against: part of main → metric → wins of main against it; for parts that all tables have.
        best: metric → wins of main against each table's best baseline.
    """

    size: int | None
    tables: int
    metrics: tuple[str, ...]
    means: Mapping[str, Mapping[str, float | None]]
    against: Mapping[str, Mapping[str, WinCounts]]
    best: Mapping[str, WinCounts]


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """Tables of results of a suite.

    Attributes:
        title: title of the page.
        level: nominal coverage of the intervals.
        groups: the tables.
        overall: averages over all tables with the same metrics, if there are several.
        curves: group name → learning curves of its first metric, if there are several budgets.
        published: group name → published results.
        notes: group name → caveats; under the empty name, those of the whole board.
        source: where the numbers come from: ``command``, ``data``, ``versions``.
        without: the part of main that answers without the model; empty: there is none.
    """

    title: str
    level: float
    groups: tuple[Group, ...]
    overall: tuple[Overall, ...]
    curves: Mapping[str, tuple[LearningCurve, ...]]
    published: Mapping[str, tuple[PublishedResult, ...]]
    notes: Mapping[str, tuple[str, ...]]
    language: ReportLanguage = "en"
    without: str = ""
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every column of a table."""
        return tuple(dict.fromkeys(m for group in self.groups for m in group.metrics))

    def document(self) -> Document:
        """The board as blocks, for the renderers of :mod:`ecomfs_eval.report`."""
        from ecomfs_eval.board.page import board_document

        return board_document(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "title": self.title,
            "metrics": list(self.metrics),
            "level": self.level,
            "source": dict(self.source),
            "groups": [
                {"systems" if k == "averages" else k: v for k, v in asdict(g).items()}
                for g in self.groups
            ],
            "overall": [asdict(found) for found in self.overall],
            "learning_curves": {
                name: [c.to_dict() for c in curves] for name, curves in self.curves.items()
            },
            "published": {n: [asdict(p) for p in rows] for n, rows in self.published.items()},
            "notes": {n: list(notes) for n, notes in self.notes.items()},
        }


def build_board(
    entries: Sequence[BoardEntry],
    *,
    metrics: Sequence[str] = (),
    main: str = "ecomfs",
    title: str = "Evaluation",
    published: Mapping[str, Sequence[PublishedResult]] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    how: Bootstrap | None = None,
    language: ReportLanguage = "en",
    without: str = "",
) -> Board:
    """Average the runs of each data set and label budget, and compare the systems.

    Args:
        entries: the runs, in the order of the board.
        metrics: names; the first decides which baseline is best. By default they depend on the
            kind of labels of each data set.
        main: the system that others are compared with.
        title: title of the page.
        published, notes: group name → published results and caveats below its tables.
        how: resamples, level and seed of the intervals.
        language: ``en`` or ``zh``.
        without: the part of main that answers without the model.

    Raises:
        EmptyDataError: no entries.
        OptionError: an unknown metric or language, or a main system that a run lacks.
    """
    if not entries:
        raise EmptyDataError("no runs", hint="a board needs at least one")
    if language not in STRINGS:
        raise OptionError(f"language {language!r}", hint="one of: " + ", ".join(STRINGS))
    for name in metrics:
        get_metric(name)
    how = how or Bootstrap()
    theirs = {p.metric for rows in (published or {}).values() for p in rows}
    keys = dict.fromkeys((e.group, e.size, e.variant) for e in entries)
    names = list(dict.fromkeys(name for name, _, _ in keys))
    groups = [
        _group(
            [e for e in entries if (e.group, e.size, e.variant) == key], metrics, theirs, main, how
        )
        for key in sorted(keys, key=lambda key: (names.index(key[0]), key[1]))
    ]
    return Board(
        title,
        how.level,
        tuple(groups),
        overall(groups),
        _curves(entries, metrics, main, how),
        {name: tuple(rows) for name, rows in (published or {}).items() if rows},
        {name: tuple(lines) for name, lines in (notes or {}).items() if lines},
        language,
        without,
    )


def _columns(entries: Sequence[BoardEntry], metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(metrics) or USUAL[entries[0].systems[0].kind]


def _group(
    entries: Sequence[BoardEntry],
    chosen: Sequence[str],
    published: Collection[str],
    main: str,
    how: Bootstrap,
) -> Group:
    columns = _columns(entries, chosen)
    metrics = [*columns, *sorted(set(published) - set(columns))]
    systems = _systems(entries)
    if main not in systems:
        raise OptionError(
            f"{entries[0].group}: no system {main!r} in every run",
            hint=f"there are: {', '.join(systems)}",
        )
    averages = {name: average(runs, metrics, how) for name, runs in systems.items()}
    own = main.split(":")[0]
    parts = [s for s in systems if s != main and s.split(":")[0] == own]
    best = _best([s for s in systems if s.split(":")[0] != own], averages, metrics[0])
    rule = next((e.rule for e in entries if e.rule in systems and e.rule != main), "")
    against = dict.fromkeys([*parts, *filter(None, [rule, best])])
    absent: dict[str, str] = {}
    for entry in entries:
        absent |= entry.absent
    first = entries[0]
    return Group(
        first.group,
        first.size,
        first.variant,
        len(entries),
        len({i for runs in systems[main] for i in runs.ids}),
        averages,
        main,
        best,
        {s: average_difference(systems[s], systems[main], metrics, how) for s in against},
        absent,
        columns,
        rule,
    )


def _systems(entries: Sequence[BoardEntry]) -> dict[str, list[Predictions]]:
    """The systems that every run has; averages over different runs would not be comparable."""
    found: dict[str, list[Predictions]] = {}
    for entry in entries:
        for p in entry.systems:
            found.setdefault(p.name, []).append(p)
    return {name: runs for name, runs in found.items() if len(runs) == len(entries)}


def _best(
    names: Sequence[str], averages: Mapping[str, Mapping[str, Average]], metric: str
) -> str | None:
    def gain(name: str) -> float:
        score = averages[name][metric].score
        value = score.value if score.value is not None else float("-inf")
        return value if score.higher_is_better is not False else -value

    known = [n for n in names if averages[n][metric].score.value is not None]
    return max(known, key=gain, default=None)


def _curves(
    entries: Sequence[BoardEntry], metrics: Sequence[str], main: str, how: Bootstrap
) -> dict[str, tuple[LearningCurve, ...]]:
    """Learning curves of main and the baselines, for each data set with several budgets."""
    out: dict[str, tuple[LearningCurve, ...]] = {}
    for group, variant in dict.fromkeys((e.group, e.variant) for e in entries):
        mine = [e for e in entries if (e.group, e.variant) == (group, variant)]
        if len({e.size for e in mine}) < 2:
            continue
        runs: dict[str, list[LearningRun]] = {}
        for number, entry in enumerate(mine):
            for p in entry.systems:
                if ":" not in p.name or p.name == main:
                    # Folds share their seeds, so the number of the run is its seed here.
                    runs.setdefault(p.name, []).append(LearningRun(entry.size, p, number))
        name = f"{group} · {variant}" if variant else group
        metric = _columns(mine, metrics)[0]
        out[name] = tuple(learning_curve(r, metric, how=how) for r in runs.values())
    return out


def overall(groups: Sequence[Group]) -> tuple[Overall, ...]:
    """Averages over tables with the same metrics: one for each size that several tables have, and
    one for all tables if the sizes differ."""
    out: list[Overall] = []
    for metrics in dict.fromkeys(g.metrics for g in groups):
        same = [g for g in groups if g.metrics == metrics]
        sizes = sorted({g.size for g in same})
        parts: list[tuple[int | None, list[Group]]] = [
            (size, [g for g in same if g.size == size]) for size in sizes
        ]
        if len(sizes) > 1:
            parts.append((None, same))
        out += [_overall(size, part, metrics) for size, part in parts if len(part) > 1]
    return tuple(out)


def _overall(size: int | None, groups: Sequence[Group], metrics: tuple[str, ...]) -> Overall:
    systems = [s for s in groups[0].averages if all(s in g.averages for g in groups)]
    parts = [
        s for s in groups[0].differences if ":" in s and all(s in g.differences for g in groups)
    ]
    best = [g.differences[g.best_baseline] for g in groups if g.best_baseline is not None]
    return Overall(
        size,
        len(groups),
        metrics,
        {
            s: {m: _mean([g.averages[s][m].score.value for g in groups]) for m in metrics}
            for s in systems
        },
        {s: {m: win_counts([g.differences[s][m] for g in groups]) for m in metrics} for s in parts},
        {m: win_counts([d[m] for d in best]) for m in metrics},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def win_counts(differences: Sequence[Difference]) -> WinCounts:
    """Wins over the tables in which the difference has a sign."""
    gains = [d.gain for d in differences if d.gain is not None]
    verdicts = [d.clear for d in differences]
    return WinCounts(
        sum(g > 0 for g in gains), verdicts.count(True), verdicts.count(False), len(gains)
    )
