"""Several runs in, the averages of metrics and of paired differences out.

Runs differ in their draw of labelled examples (seeds) or in their fold. Seeds predict the same
rows, so a row is one unit however many runs predict it: rows (or groups, where they are named)
are resampled, and for each draw the metric of every run is recomputed and averaged. The interval
covers the variation of the test rows; ``spread`` is the variation over the draws of examples.

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

from ecomfs_eval.compare.differences import Difference, differences, minus
from ecomfs_eval.compare.pairing import pair
from ecomfs_eval.errors import EmptyDataError, OptionError
from ecomfs_eval.intervals import Bootstrap, Replicates, replicate, scores
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic
from ecomfs_eval.metrics.score import ConfidenceInterval, Score, Undefined
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions


@dataclass(frozen=True, slots=True)
class Average:
    """Attributes:
    score: the mean of the metric over the runs, with its interval; undefined when it is in any
        run.
    runs: how many.
    spread: standard deviation over the runs; ``None`` for one run.
    values: of the runs, in order.
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

    One run gives what :func:`ecomfs_eval.scores` gives.

    Args:
        runs: predictions of one system; those of equal ids (or groups) are of the same rows.
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
    """B − A averaged over runs that pair up: the i-th of ``a`` and of ``b`` have the same rows.

    One pair gives what :func:`ecomfs_eval.compare.differences` gives.

    Raises:
        EmptyDataError: no runs.
        OptionError: an unknown metric, or another number of runs.
        RowsDifferError: a pair is not of the same rows.
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
    codes = _units(runs, [s for s in prepared if isinstance(s, Statistic)])
    units = 1 + max(int(c.max()) for c in codes)
    score = replace(
        found[0],
        value=float(np.mean(numbers)),
        n=units,
        interval=None,
        note="; ".join(dict.fromkeys(s.note for s in found if s.note)),
    )
    statistics = [s for s in prepared if isinstance(s, Statistic)]
    replicates = _replicate(statistics, codes, units, how)
    if isinstance(replicates, Undefined):
        score = score.noted(f"no interval: {replicates.reason}")
    else:
        low, high = replicates.bounds(how.level)
        score = replace(score, interval=ConfidenceInterval(low, high, how.level, "bca cluster"))
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
    x, y = means
    reasons = [f"{p.name}: {s.reason}" for s, p in zip(means, pairs[0], strict=True) if s.reason]
    base = Difference(
        metric.name,
        metric.title,
        metric.unit,
        metric.higher_is_better,
        x,
        y,
        None,
        note="; ".join(reasons),
    )
    if x.value is None or y.value is None:
        return base
    both = [
        replace(s, evaluate=minus(s, t), heavy=s.heavy or t.heavy, successes=None)
        for s, t in zip(*sides, strict=True)
        if isinstance(s, Statistic) and isinstance(t, Statistic)
    ]
    codes = _units([p[0] for p in pairs], both)
    units = 1 + max(int(c.max()) for c in codes)
    base = replace(base, delta=y.value - x.value)
    drawn = _replicate(both, codes, units, how)
    if isinstance(drawn, Undefined):
        return replace(base, note=f"no interval: {drawn.reason}")
    low, high = drawn.bounds(how.level)
    return replace(
        base,
        interval=ConfidenceInterval(low, high, how.level, "bca paired cluster"),
        p_value=drawn.p_value(),
        test="bootstrap",
    )


def _units(runs: Sequence[Predictions], statistics: Sequence[Statistic]) -> list[IntArray]:
    """For each run, the numbers of its rows' units: what one draw takes or leaves in all runs."""
    ranked = any(s.units is not None for s in statistics)
    numbers: dict[str, int] = {}
    out = []
    for run in runs:
        names = run.groups or (run.queries if ranked and run.queries else run.ids)
        out.append(np.array([numbers.setdefault(n, len(numbers)) for n in names], dtype=np.int64))
    return out


def _replicate(
    statistics: Sequence[Statistic], codes: Sequence[IntArray], units: int, how: Bootstrap
) -> Replicates | Undefined:
    """Replicates of the mean over runs."""

    def mean(weights: RowWeights) -> FloatArray:
        values = [s.evaluate(weights[:, c]) for s, c in zip(statistics, codes, strict=True)]
        return np.asarray(np.mean(values, axis=0), dtype=np.float64)

    heavy = {"mean"} if any(s.heavy for s in statistics) else set()
    return replicate({"mean": mean}, units, None, how, heavy)["mean"]
