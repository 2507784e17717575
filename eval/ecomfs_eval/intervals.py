"""Scores with confidence intervals.

Plain proportions have Wilson intervals, everything else BCa bootstrap intervals. Where the
predictions name groups (user, query, item), whole groups are resampled: rows of one user are not
independent, and an interval that treats them as independent is too narrow.

All metrics (and, in comparisons, both systems) share the same resamples, as row weights.
``scipy.stats.bootstrap`` cannot do that; tests check that both give the same bounds.

>>> from ecomfs_eval import Predictions, get_metric
>>> p = Predictions.of(["a", "b"] * 10, ["a", "b"] * 8 + ["b", "b"] * 2)
>>> score(get_metric("accuracy"), p).text()
'90.0 % [69.9, 97.2]'
>>> score(get_metric("f1_macro"), p).interval.method
'bca'
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic
from ecomfs_eval.metrics.score import ConfidenceInterval, Score, Undefined
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions

HEAVY_RESAMPLES = 500
"""Most resamples of a statistic that needs one pass over the rows per label."""

SKEWED = 0.10
"""Smallest share of resamples on either side of the value. Below it, resampling itself biases the
statistic (calibration error counts noise as error), and BCa, which corrects small biases only,
gives misleading bounds."""

CONSTANT = "every resample gives the same value, so its spread is unknown"
"""Why a statistic without spread has no interval."""

CELLS = 2_000_000
"""Most weights in memory; the bootstrap works in pieces of this size."""

BLOCKS = 200
"""Most jackknife evaluations. With more units, blocks of units are left out instead of single ones;
the acceleration of BCa is the same in expectation."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Settings of the bootstrap.

    Attributes:
        resamples: number of bootstrap replicates.
        level: nominal coverage.
        seed: of the random generator; the same seed gives the same interval.

    Raises:
        OptionError: fewer than 100 resamples, or a level outside (0.5, 1).

    >>> Bootstrap(level=0.9).resamples
    2000
    """

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise OptionError(f"resamples={self.resamples}", hint="100 or more; 2000 is usual")
        if not 0.5 < self.level < 1:
            raise OptionError(f"level={self.level}", hint="between 0.5 and 1, such as 0.95")


def wilson(successes: int, n: int, level: float = 0.95) -> ConfidenceInterval:
    """Wilson's score interval of a proportion.

    Args:
        successes, n: counts: successes out of n trials.
        level: nominal coverage.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; computed by scipy.

    >>> i = wilson(8, 10)
    >>> round(i.low, 3), round(i.high, 3)
    (0.49, 0.943)
    """
    from scipy.stats import binomtest

    ci = binomtest(successes, n).proportion_ci(level, method="wilson")
    return ConfidenceInterval(float(ci.low), float(ci.high), level, "wilson")


def unit_codes(p: Predictions, units: IntArray | None = None) -> IntArray | None:
    """n codes 0 … g−1 of the sampled unit: the groups, else ``units``, else ``None`` for rows."""
    if p.groups is None:
        return units
    return np.unique(np.array(p.groups), return_inverse=True)[1].astype(np.int64)


SPLIT_LISTS = "rows of one ranked list are in several groups, so groups cannot be resampled"
"""Why a ranking metric has no interval."""


def splits_lists(p: Predictions, units: IntArray | None) -> bool:
    """Whether the groups of the predictions divide a ranked list."""
    if units is None or p.groups is None:
        return False
    return len(set(zip(units.tolist(), p.groups, strict=True))) > len(set(units.tolist()))


def resamples(
    n: int, codes: IntArray | None, how: Bootstrap, start: int = 0
) -> Iterator[RowWeights]:
    """Row weights of bootstrap draws, in pieces of B × n; rows of one code share a weight."""
    rng = np.random.default_rng([how.seed, start])
    units = n if codes is None else int(codes.max()) + 1
    left = how.resamples
    while left:
        b = min(left, max(1, CELLS // max(n, units)))
        drawn = rng.integers(units, size=(b, units)) + np.arange(b)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=b * units).reshape(b, units).astype(float)
        yield counts if codes is None else counts[:, codes]
        left -= b


def leave_out(n: int, codes: IntArray | None, seed: int = 0) -> Iterator[RowWeights]:
    """Row weights of the jackknife: each unit (or block of units) left out once."""
    units = n if codes is None else int(codes.max()) + 1
    blocks = min(units, BLOCKS)
    block_of = np.arange(units) * blocks // units
    if blocks < units:
        np.random.default_rng(seed).shuffle(block_of)
    of_row = block_of if codes is None else block_of[codes]
    step = max(1, CELLS // n)
    for first in range(0, blocks, step):
        gone = np.arange(first, min(blocks, first + step))[:, None] == of_row
        yield 1.0 - gone


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """A statistic's point value, its bootstrap replicates and its jackknife values."""

    point: float
    bootstrap: FloatArray
    jackknife: FloatArray

    def interval(self, level: float, method: str) -> ConfidenceInterval:
        """The BCa interval. Source: Efron 1987, doi:10.1080/01621459.1987.10478410."""
        from scipy.special import ndtr, ndtri

        z0, a = self._bias(), self._acceleration()
        z = ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
        alpha = ndtr(z0 + (z0 + z) / (1 - a * (z0 + z)))
        low, high = np.quantile(self.bootstrap, alpha)
        return ConfidenceInterval(float(low), float(high), level, method)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p-value of ``null``: one minus the level of the BCa interval that ends at
        it; at least 1 / resamples."""
        from scipy.special import ndtr, ndtri

        draws = self.bootstrap.size
        below = float(np.mean(self.bootstrap < null) + 0.5 * np.mean(self.bootstrap == null))
        if below in (0.0, 1.0):  # no interval of any level contains it
            return 1 / draws
        at = ndtri(np.clip(below, 0.5 / draws, 1 - 0.5 / draws))
        z0, a = self._bias(), self._acceleration()
        shifted = at - z0
        alpha = float(ndtr(shifted / (1 + a * shifted) - z0))
        return float(min(1.0, max(2 * min(alpha, 1 - alpha), 1 / draws)))

    def _bias(self) -> float:
        from scipy.special import ndtri

        draws = self.bootstrap.size
        below = np.mean(self.bootstrap < self.point) + 0.5 * np.mean(self.bootstrap == self.point)
        return float(ndtri(np.clip(below, 0.5 / draws, 1 - 0.5 / draws)))

    def _acceleration(self) -> float:
        gap = self.jackknife.mean() - self.jackknife
        spread = float((gap**2).sum()) ** 1.5
        return float((gap**3).sum()) / (6 * spread) if spread > 0 else 0.0


Evaluate = Callable[[RowWeights], FloatArray]


def replicate(
    statistics: Mapping[str, Evaluate],
    n: int,
    codes: IntArray | None,
    how: Bootstrap,
    heavy: Container[str] = (),
) -> dict[str, Replicates | Undefined]:
    """Replicates of several statistics on the same draws; fewer draws for the heavy ones.

    Undefined if there is one unit only, if more than one draw in a hundred has no value, if every
    draw has the same value, or if nearly all draws are on one side of the value.
    """
    units = n if codes is None else int(codes.max()) + 1
    if units < 2:
        return {k: Undefined("only one unit to resample") for k in statistics}
    ones = np.ones((1, n))
    point = {k: float(f(ones)[0]) for k, f in statistics.items()}
    drawn: dict[str, list[FloatArray]] = {k: [] for k in statistics}
    done = 0
    for weights in resamples(n, codes, how):
        for k, f in statistics.items():
            few = HEAVY_RESAMPLES - done if k in heavy else len(weights)
            if few > 0:
                drawn[k].append(f(weights[:few]))
        done += len(weights)
    kept: dict[str, list[FloatArray]] = {k: [] for k in statistics}
    for weights in leave_out(n, codes, how.seed):
        for k, f in statistics.items():
            kept[k].append(f(weights))
    return {
        k: _judge(point[k], np.concatenate(drawn[k]), np.concatenate(kept[k])) for k in statistics
    }


def replicate_all(
    statistics: Mapping[str, Statistic], p: Predictions, how: Bootstrap
) -> dict[str, tuple[Replicates | Undefined, IntArray | None]]:
    """Replicates of statistics that may differ in their units, and the codes of these units."""
    alike: dict[bytes, tuple[IntArray | None, dict[str, Evaluate]]] = {}
    found: dict[str, tuple[Replicates | Undefined, IntArray | None]] = {}
    for name, s in statistics.items():
        codes = unit_codes(p, s.units)
        if splits_lists(p, s.units):
            found[name] = Undefined(SPLIT_LISTS), codes
            continue
        key = b"" if codes is None else codes.tobytes()
        alike.setdefault(key, (codes, {}))[1][name] = s.evaluate
    heavy = {name for name, s in statistics.items() if s.heavy}
    for codes, same in alike.values():
        drawn = replicate(same, len(p), codes, how, heavy)
        found |= {name: (r, codes) for name, r in drawn.items()}
    return found


def _judge(point: float, drawn: FloatArray, kept: FloatArray) -> Replicates | Undefined:
    if np.isnan(point):
        return Undefined("the statistic is undefined")
    good = drawn[~np.isnan(drawn)]
    if good.size < 0.99 * drawn.size:
        share = 100 * (1 - good.size / drawn.size)
        return Undefined(f"undefined in {share:.0f} % of the resamples: too few rows")
    if np.ptp(good) <= 1e-12 * max(1.0, abs(point)):
        return Undefined(CONSTANT)
    below = float(np.mean(good < point) + 0.5 * np.mean(good == point))
    if not SKEWED <= below <= 1 - SKEWED:
        side, share = ("above", 1 - below) if below < 0.5 else ("below", below)
        return Undefined(
            f"{100 * share:.0f} % of the resamples lie {side} the value: resampling biases it"
        )
    return Replicates(point, good, kept[~np.isnan(kept)])


def scores(
    metrics: Mapping[str, Metric], p: Predictions, how: Bootstrap | None = None
) -> dict[str, Score]:
    """Several metrics with their intervals, on shared resamples.

    Args:
        metrics: key → metric.
        p: the predictions.
        how: resamples, level and seed.

    Returns:
        Key → score. Without an interval, the note says why.

    >>> from ecomfs_eval import METRICS, Predictions
    >>> p = Predictions.of(["a", "b"] * 10, ["a", "b"] * 8 + ["b", "b"] * 2)
    >>> scores({"acc": METRICS["accuracy"]}, p)["acc"].text()
    '90.0 % [69.9, 97.2]'
    """
    how = how or Bootstrap()
    n = len(p)
    prepared = {k: m.prepare(p) for k, m in metrics.items()}
    results = {k: metrics[k].score(s, n) for k, s in prepared.items()}
    wanted: dict[str, Statistic] = {}
    for k, s in prepared.items():
        if isinstance(s, Undefined) or results[k].value is None:
            continue
        if s.successes is not None and p.groups is None and s.units is None:
            results[k] = replace(results[k], interval=wilson(s.successes, s.n, how.level))
        else:
            wanted[k] = s
    for k, (r, codes) in replicate_all(wanted, p, how).items():
        results[k] = _with_interval(results[k], r, codes, how.level)
    return results


def _with_interval(
    result: Score, r: Replicates | Undefined, codes: IntArray | None, level: float
) -> Score:
    if isinstance(r, Undefined):
        return result.noted(f"no interval: {r.reason}")
    if codes is None:
        return replace(result, interval=r.interval(level, "bca"))
    groups = int(codes.max()) + 1
    result = replace(result, interval=r.interval(level, "bca cluster"))
    return result.noted(
        f"{groups} groups resampled" + (", too few to trust" if groups < 20 else "")
    )


def score(metric: Metric, p: Predictions, how: Bootstrap | None = None) -> Score:
    """One metric with its interval; see :func:`scores`.

    >>> from ecomfs_eval import Predictions, get_metric
    >>> score(get_metric("accuracy"), Predictions.of(["a", "b"] * 4, ["a"] * 8)).text()
    '50.0 % [21.5, 78.5]'
    """
    return scores({metric.name: metric}, p, how)[metric.name]
