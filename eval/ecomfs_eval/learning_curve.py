"""Learning curves: a metric by the number of labelled examples (or k), with bands.

The band of a point covers two sources of variation: the test rows (rows, or groups, are
resampled) and the draw of labelled examples (runs with different seeds are resampled). With one
run per point, only the first is known, and the note says so.

Source of the two-way resampling: Owen 2007, doi:10.1214/07-AOAS122 (pigeonhole bootstrap).

>>> from ecomfs_eval import Predictions
>>> gold = ["a", "b"] * 30
>>> runs = [LearningRun(n, Predictions.of(gold, gold[:k] + ["a"] * (60 - k)), seed)
...         for n, ks in ((8, (20, 24)), (32, (50, 54))) for seed, k in enumerate(ks)]
>>> curve = learning_curve(runs, "accuracy")
>>> [(p.size, p.runs, round(p.value, 3)) for p in curve.points]
[(8, 2, 0.683), (32, 2, 0.933)]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ecomfs_eval.errors import EmptyDataError, OptionError
from ecomfs_eval.intervals import (
    CONSTANT,
    SPLIT_LISTS,
    Bootstrap,
    resamples,
    splits_lists,
    unit_codes,
)
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.base import Metric, Statistic
from ecomfs_eval.metrics.score import Undefined, Unit
from ecomfs_eval.predictions import FloatArray, Predictions

AXIS = "labelled examples"
"""What the horizontal axis counts, unless another name is given."""


@dataclass(frozen=True, slots=True, eq=False)
class LearningRun:
    """One run of a system.

    Attributes:
        size: number of labelled examples, or k: the horizontal axis.
        predictions: the predictions of the run.
        seed: seed of the draw of labelled examples.
    """

    size: int
    predictions: Predictions
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a learning curve.

    Attributes:
        size: number of labelled examples, or k.
        value: mean of the metric over the runs; ``None`` when it is undefined in one of them.
        low, high: the band; ``None`` when it is unknown.
        runs: number of runs.
        note: a caveat.
    """

    size: int
    value: float | None
    low: float | None
    high: float | None
    runs: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The learning curve of one system.

    Attributes:
        system, metric, title: the system and the metric.
        unit, higher_is_better: as in the metric.
        axis: what ``size`` counts.
        level: nominal coverage of each point's band.
        points: by growing size.
    """

    system: str
    metric: str
    title: str
    unit: Unit
    higher_is_better: bool | None
    axis: str
    level: float
    points: tuple[CurvePoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def learning_curve(
    runs: Iterable[LearningRun],
    metric: str | Metric,
    *,
    system: str | None = None,
    axis: str = AXIS,
    how: Bootstrap | None = None,
) -> LearningCurve:
    """The curve of one system.

    Args:
        runs: any number of runs per size.
        metric: a name or a metric.
        system: name in reports; by default that of the first run's predictions.
        axis: what ``size`` counts.
        how: resamples, level and seed of the bands.

    Raises:
        EmptyDataError: no runs.
        OptionError: an unknown metric, or one seed twice at one size.
    """
    how = how or Bootstrap()
    chosen = get_metric(metric)
    by_size: dict[int, list[LearningRun]] = {}
    for run in runs:
        by_size.setdefault(run.size, []).append(run)
    if not by_size:
        raise EmptyDataError("no runs", hint="a curve needs at least one run")
    for size, same in by_size.items():
        seeds = [r.seed for r in same]
        if len(set(seeds)) != len(seeds):
            raise OptionError(
                f"two runs of size {size} have the same seed", hint="give every run its own seed"
            )
    first = next(iter(by_size.values()))[0].predictions
    return LearningCurve(
        system if system is not None else first.name,
        chosen.name,
        chosen.title,
        chosen.unit,
        chosen.higher_is_better,
        axis,
        how.level,
        tuple(_point(size, by_size[size], chosen, how) for size in sorted(by_size)),
    )


def _point(size: int, runs: Sequence[LearningRun], metric: Metric, how: Bootstrap) -> CurvePoint:
    systems = [r.predictions for r in runs]
    prepared = [metric.prepare(p) for p in systems]
    scores = [metric.score(s, len(p)) for s, p in zip(prepared, systems, strict=True)]
    values = [s.value for s in scores if s.value is not None]
    if len(values) < len(scores):
        why = next(s.reason for s in scores if s.value is None)
        return CurvePoint(size, None, None, None, len(runs), f"undefined in a run: {why}")
    statistics = [s for s in prepared if not isinstance(s, Undefined)]
    value = float(np.mean(values))
    if any(splits_lists(p, s.units) for p, s in zip(systems, statistics, strict=True)):
        return CurvePoint(size, value, None, None, len(runs), SPLIT_LISTS)
    drawn = _replicates(systems, statistics, how)
    rng = np.random.default_rng([how.seed, 1])
    picked = rng.integers(len(runs), size=(drawn.shape[1], len(runs)))
    means = np.take_along_axis(drawn.T, picked, axis=1).mean(axis=1)
    note = "" if len(runs) > 1 else "one run: the band leaves out the draw of examples"
    if np.isnan(means).mean() > 0.01:
        return CurvePoint(size, value, None, None, len(runs), "undefined in resamples: few rows")
    if np.nanmax(means) - np.nanmin(means) <= 1e-12 * max(1.0, abs(value)):
        return CurvePoint(size, value, None, None, len(runs), CONSTANT)
    edges = [(1 - how.level) / 2, (1 + how.level) / 2]
    low, high = np.quantile(means[~np.isnan(means)], edges)
    return CurvePoint(size, value, float(low), float(high), len(runs), note)


def _replicates(
    systems: Sequence[Predictions], statistics: Sequence[Statistic], how: Bootstrap
) -> FloatArray:
    """Runs × resamples. Runs on the same rows share their draws of rows."""
    together = all(p.ids == systems[0].ids for p in systems)
    rows = []
    for number, (p, s) in enumerate(zip(systems, statistics, strict=True)):
        draws = resamples(len(p), unit_codes(p, s.units), how, 0 if together else number)
        rows.append(np.concatenate([s.evaluate(w) for w in draws]))
    return np.stack(rows)
