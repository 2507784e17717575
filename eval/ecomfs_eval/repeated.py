"""Averages of metrics, and of paired differences, over several runs.

Runs differ in their draw of labelled examples (seeds) or in their fold. Runs with different seeds
predict the same rows, so a row is one unit: rows (or groups, if given) are resampled, and for each
draw the metric of every run is recomputed and averaged. The interval covers the variation of the
test rows; ``spread`` is the variation over the draws of examples.

>>> from ecomfs_eval import Predictions
>>> gold = ["a", "b"] * 30
>>> runs = [Predictions.of(gold, gold[:k] + ["a"] * (60 - k)) for k in (40, 44, 48)]
>>> found = average(runs, ["accuracy"])["accuracy"]
>>> found.score.text(), found.runs, round(found.spread, 3)
('86.7 % [77.2, 93.3]', 3, 0.033)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecomfs_eval.compare.differences import (
    Difference,
    bootstrapped,
    differences,
    minus,
    point,
)
from ecomfs_eval.compare.paired import pair
from ecomfs_eval.errors import EmptyDataError, OptionError
from ecomfs_eval.intervals import (
    SPLIT_LISTS,
    Bootstrap,
    Replicates,
    replicate,
    scores,
    splits_lists,
)
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic
from ecomfs_eval.metrics.score import Score, Undefined
from ecomfs_eval.predictions import FloatArray, Predictions


@dataclass(frozen=True, slots=True)
class Average:
    """A metric averaged over runs.

    Attributes:
        score: the mean of the metric over the runs, with its interval; undefined if it is undefined
            in any run.
        runs: number of runs.
        spread: standard deviation over the runs; ``None`` for one run.
        values: the values of the runs, in order.
    """

    score: Score
    runs: int
    spread: float | None
    values: tuple[float | None, ...]


def average(
    runs: Sequence[Predictions],
    metrics: Sequence[str | Metric],
    how: Bootstrap | None = None,
) -> dict[str, Average]:
    """Metrics of one system, averaged over its runs.

    For one run the result equals that of :func:`ecomfs_eval.scores`.

    Args:
        runs: predictions of one system; equal ids (or groups) are the same rows.
        metrics: names or metrics.
        how: resamples, level and seed.

    Raises:
        EmptyDataError: no runs.
        OptionError: an unknown metric, or runs of which only some name groups.
    """
    how = how or Bootstrap()
    chosen = _chosen(runs, metrics)
    if len(runs) == 1:
        found = scores({m.name: m for m in chosen}, runs[0], how)
        return {k: Average(s, 1, None, (s.value,)) for k, s in found.items()}
    return {m.name: _averaged(runs, m, how) for m in chosen}


def average_difference(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    metrics: Sequence[str | Metric],
    how: Bootstrap | None = None,
) -> dict[str, Difference]:
    """B − A averaged over paired runs: the i-th runs of ``a`` and ``b`` have the same rows.

    For one pair the result equals that of :func:`ecomfs_eval.compare.differences`.

    Raises:
        EmptyDataError: no runs.
        OptionError: an unknown metric, or different numbers of runs.
        RowsDifferError: the runs of a pair have different rows.
    """
    how = how or Bootstrap()
    chosen = _chosen(a, metrics)
    if len(a) != len(b):
        raise OptionError(f"{len(a)} runs of A, {len(b)} of B", hint="give one of each, in order")
    pairs = [pair(x, y) for x, y in zip(a, b, strict=True)]
    if len(pairs) == 1:
        return {d.metric: d for d in differences(*pairs[0], chosen, how)}
    return {m.name: _difference(pairs, m, how) for m in chosen}


def _chosen(runs: Sequence[Predictions], metrics: Sequence[str | Metric]) -> list[Metric]:
    if not runs:
        raise EmptyDataError("no runs", hint="an average needs at least one")
    if len({r.groups is None for r in runs}) > 1:
        raise OptionError("some runs name groups, others do not", hint="name them in all")
    return [get_metric(m) for m in metrics]


def _averaged(runs: Sequence[Predictions], metric: Metric, how: Bootstrap) -> Average:
    prepared = [metric.prepare(r) for r in runs]
    found = [metric.score(s, len(r)) for s, r in zip(prepared, runs, strict=True)]
    values = tuple(s.value for s in found)
    lost = next((s for s in found if s.value is None), None)
    if lost is not None:
        reason = f"in one of {len(runs)} runs: {lost.reason}"
        return Average(metric.undefined(reason), len(runs), None, values)
    numbers = [v for v in values if v is not None]
    drawn, units = _replicate(runs, [s for s in prepared if isinstance(s, Statistic)], how)
    score = replace(
        found[0],
        value=float(np.mean(numbers)),
        n=units,
        interval=None,
        note="; ".join(dict.fromkeys(s.note for s in found if s.note)),
    )
    if isinstance(drawn, Undefined):
        score = score.noted(f"no interval: {drawn.reason}")
    else:
        score = replace(score, interval=drawn.interval(how.level, "bca cluster"))
    return Average(score, len(runs), float(np.std(numbers, ddof=1)), values)


def _difference(
    pairs: Sequence[tuple[Predictions, Predictions]], metric: Metric, how: Bootstrap
) -> Difference:
    sides = [[metric.prepare(p[i]) for p in pairs] for i in (0, 1)]
    means = []
    for i, side in enumerate(sides):
        found = [metric.score(s, len(p[i])) for s, p in zip(side, pairs, strict=True)]
        lost = next((s for s in found if s.value is None), None)
        means.append(
            metric.undefined(f"in one of {len(pairs)} runs: {lost.reason}")
            if lost is not None
            else replace(found[0], value=float(np.mean([s.value or 0.0 for s in found])), note="")
        )
    (x, y), (a, b) = means, pairs[0]
    base = point(metric, x, y, a.name, b.name)
    if base.delta is None:
        reasons = [f"{p.name}: {s.reason}" for s, p in ((x, a), (y, b)) if s.reason]
        return replace(base, note="; ".join(reasons))
    both = [
        minus(s, t)
        for s, t in zip(*sides, strict=True)
        if isinstance(s, Statistic) and isinstance(t, Statistic)
    ]
    drawn, _ = _replicate([p[0] for p in pairs], both, how)
    return bootstrapped(base, drawn, how, "bca paired cluster")


def _replicate(
    runs: Sequence[Predictions], statistics: Sequence[Statistic], how: Bootstrap
) -> tuple[Replicates | Undefined, int]:
    """Replicates of the mean over runs, and the number of units; a unit is resampled together in
    all runs."""
    ranked = any(s.units is not None for s in statistics)
    numbers: dict[str, int] = {}
    codes = []
    for run in runs:
        names = run.groups or (run.queries if ranked and run.queries else run.ids)
        codes.append(np.array([numbers.setdefault(n, len(numbers)) for n in names]))
    if any(splits_lists(run, s.units) for run, s in zip(runs, statistics, strict=True)):
        return Undefined(SPLIT_LISTS), len(numbers)

    def mean(weights: RowWeights) -> FloatArray:
        values = [s.evaluate(weights[:, c]) for s, c in zip(statistics, codes, strict=True)]
        return np.asarray(np.mean(values, axis=0), dtype=np.float64)

    heavy = {"mean"} if any(s.heavy for s in statistics) else set()
    return replicate({"mean": mean}, len(numbers), None, how, heavy)["mean"], len(numbers)
