"""Unpaired comparisons of systems on different rows (arms of a traffic split).

Each row went to one system only, so the test is unpaired and has less power than a paired one on
as many rows. Accuracy is a difference of two proportions: Fisher's exact test and Newcombe's
interval. For other metrics, each arm is resampled separately.

Source: Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I
(method 10).

>>> from ecomfs_eval import Predictions
>>> gold = ["x", "y"] * 50
>>> a = Predictions.of(gold, ["x"] * 100, ids=[f"a{i}" for i in range(100)], name="A")
>>> b = Predictions.of(gold, gold, ids=[f"b{i}" for i in range(100)], name="B")
>>> compare_arms([a, b]).comparisons[0].decision.text
'B is better than A by 50.0 points of accuracy [39.7, 59.6]; ship B.'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecomfs_eval._check import some
from ecomfs_eval.compare import slices
from ecomfs_eval.compare.comparison import (
    COMPARED,
    Comparisons,
    PairwiseComparison,
    check_margin,
    check_names,
    chosen_metrics,
    defined,
    with_holm,
)
from ecomfs_eval.compare.decision import Decision
from ecomfs_eval.compare.differences import Difference, bootstrapped, point
from ecomfs_eval.compare.paired import one_space
from ecomfs_eval.compare.slices import CLASS, MIN_ROWS, SliceDifference, adjusted, too_few
from ecomfs_eval.errors import RowsDifferError
from ecomfs_eval.intervals import Bootstrap, Replicates, replicate_all, wilson
from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.metrics.base import Metric, Statistic
from ecomfs_eval.metrics.score import ConfidenceInterval, Undefined
from ecomfs_eval.predictions import FloatArray, Predictions


def newcombe(
    right_a: int, n_a: int, right_b: int, n_b: int, level: float = 0.95
) -> tuple[float, float]:
    """Interval of B's share minus A's, from the Wilson interval of each.

    >>> low, high = newcombe(48, 80, 56, 70)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    a, b = right_a / n_a, right_b / n_b
    i, j = wilson(right_a, n_a, level), wilson(right_b, n_b, level)
    low = (b - a) - math.hypot(b - j.low, i.high - a)
    high = (b - a) + math.hypot(j.high - b, a - i.low)
    return max(-1.0, low), min(1.0, high)


def two_proportions_p(right_a: int, n_a: int, right_b: int, n_b: int) -> float:
    """Two-sided p-value of "both shares are the same", by Fisher's exact test (scipy).

    >>> round(two_proportions_p(48, 80, 56, 70), 4)
    0.0125
    """
    from scipy.stats import fisher_exact

    return float(fisher_exact([[right_a, n_a - right_a], [right_b, n_b - right_b]]).pvalue)


def compare_arms(
    systems: Sequence[Predictions],
    *,
    primary: str | Metric = "accuracy",
    metrics: Sequence[str | Metric] | None = None,
    margin: float | None = None,
    how: Bootstrap | None = None,
    min_rows: int = MIN_ROWS,
) -> Comparisons:
    """Compare every arm with the first, each on its own rows.

    Args:
        systems: the arms; no row may be in two arms.
        primary, metrics, margin, how: as for :func:`~ecomfs_eval.compare.compare`.
        min_rows: slices with fewer rows in either arm have no interval and no test.

    Raises:
        OptionError: fewer than two arms, two of one name, or a margin that is not positive.
        RowsDifferError: a row is in two arms.
    """
    check_names(systems, "arms")
    check_margin(margin)
    how = how or Bootstrap()
    first, *rest = chosen_metrics(primary, metrics, COMPARED)
    base = systems[0]
    found = []
    for arm in systems[1:]:
        a, b = _aligned(base, arm)
        deltas = _differences(a, b, (first, *rest), how)
        if metrics is None:
            deltas = defined(deltas)
        found.append(
            PairwiseComparison(
                a=a.name,
                b=b.name,
                rows=len(a) + len(b),
                primary=first.name,
                differences=deltas,
                mcnemar=None,
                p_value=deltas[0].p_value,
                slices=_slices(a, b, how.level, min_rows) if _plain(a, b) else {},
                flips=(),
                minimum_effect=_effect(a, b, how.level),
                decision=Decision("undecided", ""),
            )
        )
    return with_holm(base.name, found, margin, how)


def _aligned(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    shared = sorted(set(a.ids) & set(b.ids))
    if shared:
        raise RowsDifferError(
            f"{len(shared)} rows are in both {a.name} and {b.name}: {some(shared, 3)}",
            hint="rows that both answered are paired: use compare()",
        )
    return one_space(a, b)


def _plain(a: Predictions, b: Predictions) -> bool:
    """Whether the rows are independent: there are no groups."""
    return a.groups is None and b.groups is None


def _differences(
    a: Predictions, b: Predictions, metrics: Sequence[Metric], how: Bootstrap
) -> tuple[Difference, ...]:
    sides = [{m.name: m.prepare(p) for m in metrics} for p in (a, b)]
    left, right = ({k: s for k, s in side.items() if isinstance(s, Statistic)} for side in sides)
    drawn_a = replicate_all(left, a, how)
    drawn_b = replicate_all(right, b, replace(how, seed=how.seed + 1))
    found = []
    for m in metrics:
        x, y = (m.score(side[m.name], len(p)) for side, p in zip(sides, (a, b), strict=True))
        d = point(m, x, y, a.name, b.name)
        if d.delta is not None:
            if m.name == "accuracy" and _plain(a, b):
                interval, p_value = _tested(correct(a), correct(b), how.level)
                d = replace(d, interval=interval, p_value=p_value, test="fisher")
            else:
                d = _arms_bootstrapped(d, a, b, drawn_a[m.name][0], drawn_b[m.name][0], how)
        found.append(d)
    return tuple(found)


def _arms_bootstrapped(
    d: Difference,
    a: Predictions,
    b: Predictions,
    x: Replicates | Undefined,
    y: Replicates | Undefined,
    how: Bootstrap,
) -> Difference:
    if isinstance(y, Undefined):
        return replace(d, note=f"no interval: {b.name}: {y.reason}")
    if isinstance(x, Undefined):
        return replace(d, note=f"no interval: {a.name}: {x.reason}")
    n = min(x.bootstrap.size, y.bootstrap.size)
    # No jackknife: the bounds are corrected for bias, not for skewness.
    both = Replicates(d.delta or 0.0, y.bootstrap[:n] - x.bootstrap[:n], np.zeros(2))
    return bootstrapped(d, both, how, "bootstrap of each arm")


def _tested(x: FloatArray, y: FloatArray, level: float) -> tuple[ConfidenceInterval, float]:
    """Interval and p-value of the difference of two shares of right rows."""
    counts = int(x.sum()), len(x), int(y.sum()), len(y)
    interval = ConfidenceInterval(*newcombe(*counts, level), level, "newcombe")
    return interval, two_proportions_p(*counts)


def _slices(
    a: Predictions, b: Predictions, level: float, min_rows: int
) -> dict[str, tuple[SliceDifference, ...]]:
    left, right = {CLASS: a.gold, **a.slices}, {CLASS: b.gold, **b.slices}
    x, y = correct(a), correct(b)
    found = {}
    for slicing in left:
        if slicing not in right:
            continue
        rows = []
        for value in sorted(set(left[slicing]) & set(right[slicing])):
            i = x[np.array([v == value for v in left[slicing]])]
            j = y[np.array([v == value for v in right[slicing]])]
            row = slices.point(slicing, value, i, j, len(i) + len(j))
            if min(len(i), len(j)) < min_rows:
                rows.append(replace(row, note=too_few(min(len(i), len(j)), min_rows)))
                continue
            interval, p_value = _tested(i, j, level)
            rows.append(replace(row, interval=interval, p_value=p_value))
        found[slicing] = adjusted(rows)
    return found


def _effect(a: Predictions, b: Predictions, level: float, power: float = 0.8) -> float | None:
    """The smallest accuracy difference that arms of this size detect with the given power, by the
    normal approximation at the observed accuracy; ``None`` if all rows are right, or all wrong."""
    from scipy.special import ndtri

    if not _plain(a, b):
        return None
    share = float(np.concatenate([correct(a), correct(b)]).mean())
    spread = math.sqrt(share * (1 - share) * (1 / len(a) + 1 / len(b)))
    effect = float(ndtri((1 + level) / 2) + ndtri(power)) * spread
    return effect if 0 < effect < 1 else None
