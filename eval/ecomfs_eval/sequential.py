"""A sequential A/B test on paired differences, which may stop at any look.

Repeating an ordinary test until p < 0.05 gives far more than 5 % false decisions. This test uses
betting: a bettor on the paired differences, at odds that are fair under "no difference", cannot
expect to gain. If the wealth has grown twentyfold at *any* time, "no difference" is rejected at
5 %, for any number of looks and any stopping rule (Ville's inequality).

For each candidate mean m of the differences d in [−1, 1], the wealth is
Π (1 − θ + θ·(1 + d)/(1 + m)), averaged over stakes θ. One bet is on a larger mean, a mirrored one
on a smaller mean. The means that neither bet rejects form the confidence sequence: an interval
that contains the true mean at all looks together with the stated probability. The e-value of the
test is the wealth of the bet against m = 0.

Source: Waudby-Smith & Ramdas 2024, doi:10.1093/jrsssb/qkad009 (betting); Ville 1939.

>>> test = SequentialTest()
>>> state = test.update([1, 0, 0, 1, 1, 0, 1, 1] * 3)
>>> state.decision, state.rows, round(state.mean, 3), state.low > 0
('b better', 24, 0.625, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from ecomfs_eval.compare.comparison import Comparisons, PairwiseComparison, overall
from ecomfs_eval.compare.decision import Decision
from ecomfs_eval.errors import DataError, OptionError
from ecomfs_eval.metrics.score import ConfidenceInterval
from ecomfs_eval.predictions import FloatArray

SequentialVerdict = Literal["b better", "a better", "equivalent", "continue"]

STAKES: FloatArray = np.geomspace(0.01, 0.95, 60)
"""Fractions of the wealth that are bet, from small (long tests, small effects) to large; the wealth
is divided equally among them at the start."""


@dataclass(frozen=True, slots=True)
class SequentialState:
    """The result of a look.

    Attributes:
        rows: paired rows so far.
        mean: mean difference B − A.
        low, high: confidence sequence of the mean, valid at all looks together.
        e_value: evidence against "no difference": the wealth of the bet.
        p_value: anytime-valid p-value: 1 / the largest e-value so far, at most 1.
        level: coverage of the sequence.
        decision: ``b better``, ``a better``, ``equivalent`` (the interval lies within the
            margin) or ``continue``.
    """

    rows: int
    mean: float
    low: float
    high: float
    e_value: float
    p_value: float
    level: float
    decision: SequentialVerdict

    def text(self, a: str = "A", b: str = "B") -> str:
        """The state in plain words.

        >>> SequentialState(90, 0.1, 0.02, 0.18, 40., 0.025, 0.95, "b better").text()
        'After 90 rows B is better than A by 10.0 points [2.0, 18.0]; stop and ship B.'
        """
        shown = f"[{100 * self.low:.1f}, {100 * self.high:.1f}]".replace("-", "−")
        points = f"{100 * abs(self.mean):.1f} points"
        what = {
            "b better": f"{b} is better than {a} by {points} {shown}; stop and ship {b}",
            "a better": f"{b} is worse than {a} by {points} {shown}; stop and keep {a}",
            "equivalent": f"no difference above the margin {shown}; stop, either can ship",
            "continue": f"nothing is decided, {b} − {a} lies in {shown} points; continue",
        }[self.decision]
        return f"After {self.rows:,} rows {what}."


class SequentialTest:
    """A sequential test on paired differences in [−1, 1], such as right(B) − right(A).

    Args:
        level: coverage of the confidence sequence; false decisions stay under 1 − level.
        margin: the smallest mean difference that matters; with it, the test can stop as
            ``equivalent``.

    Raises:
        OptionError: a level outside (0.5, 1), or a margin that is not positive.
    """

    def __init__(self, level: float = 0.95, margin: float | None = None) -> None:
        if not 0.5 < level < 1:
            raise OptionError(f"level={level}", hint="between 0.5 and 1, such as 0.95")
        if margin is not None and margin <= 0:
            raise OptionError(f"margin={margin}", hint="more than 0")
        self._level, self._margin = level, margin
        self._counts: dict[float, int] = {}
        self._bounds = (-1.0, 1.0)
        self._largest = 0.0

    @property
    def rows(self) -> int:
        """Paired rows so far."""
        return sum(self._counts.values())

    def update(self, differences: Iterable[float]) -> SequentialState:
        """Add rows and return the state.

        Args:
            differences: B − A of each new row, in [−1, 1].

        Raises:
            DataError: a difference outside [−1, 1].
        """
        for d in differences:
            value = float(d)
            if not -1 <= value <= 1:
                raise DataError(
                    f"difference {value:g} of row {self.rows + 1} is outside [−1, 1]",
                    hint="scale the metric of each row to [0, 1] first",
                )
            self._counts[value] = self._counts.get(value, 0) + 1
        return self.look()

    def look(self) -> SequentialState:
        """The current state; repeated looks do not raise the error rate."""
        counts = tuple(sorted(self._counts.items()))
        few = len(counts) <= 3  # right or wrong: simulations repeat the same few counts
        low, high, log_e = (_cached if few else _measure)(counts, self._level)
        # The intervals of all looks are valid together; so is their intersection.
        low, high = max(self._bounds[0], low), min(self._bounds[1], high)
        self._bounds = (low, high)
        self._largest = max(self._largest, log_e)
        rows = self.rows
        mean = sum(d * c for d, c in counts) / rows if rows else 0.0
        return SequentialState(
            rows,
            mean,
            low,
            high,
            math.exp(min(log_e, 700.0)),
            math.exp(-self._largest),
            self._level,
            self._decide(low, high),
        )

    def _decide(self, low: float, high: float) -> SequentialVerdict:
        if self._margin is not None and max(-low, high) <= self._margin:
            return "equivalent"
        if low > 0:
            return "b better"
        return "a better" if high < 0 else "continue"


_Counts = tuple[tuple[float, int], ...]
"""(difference, how many rows have it)."""


def _measure(counts: _Counts, level: float) -> tuple[float, float, float]:
    """Bounds of the mean at this look, and the log e-value against "no difference"."""
    threshold = math.log(2 / (1 - level))
    low, high = _lower(counts, threshold, 1), -_lower(counts, threshold, -1)
    zero = np.zeros(1)
    both = np.logaddexp(_wealth(counts, zero, 1), _wealth(counts, zero, -1))
    return low, high, float(both[0]) - math.log(2)


_cached = lru_cache(maxsize=1 << 16)(_measure)


def _wealth(counts: _Counts, means: FloatArray, sign: int) -> FloatArray:
    """Log wealth of the bets that the mean of sign·d is larger than each of ``means``."""
    log = np.zeros((means.size, STAKES.size))
    for d, count in counts:
        gain = (1 + sign * d) / (1 + means[:, None]) - 1
        log += count * np.log1p(STAKES * gain)
    top = log.max(axis=1)
    wealth: FloatArray = top + np.log(np.exp(log - top[:, None]).mean(axis=1))
    return wealth


def _lower(counts: _Counts, threshold: float, sign: int) -> float:
    """The largest mean of sign·d that is rejected as too small. The wealth falls as m grows, so
    the bracket is searched in 16 parts at a time."""
    rows = max(1, sum(c for _, c in counts))
    mean = sign * sum(d * c for d, c in counts) / rows
    low, high = -1.0, mean
    if mean <= -1:
        return low
    for _ in range(6):
        means = np.linspace(low, high, 17)[1:]
        rejected = int((_wealth(counts, means, sign) >= threshold).sum())
        low, high = (
            float(means[rejected - 1]) if rejected else low,
            float(means[min(rejected, 15)]),
        )
    return low


def decided_by(c: PairwiseComparison, state: SequentialState) -> PairwiseComparison:
    """Decide a comparison by its sequential test of the accuracy.

    The interval of the accuracy is replaced by the confidence sequence and its p-value by the
    anytime-valid one, because those of a fixed test are wrong too often after many looks.

    Raises:
        OptionError: the comparison has another metric, or other rows.
    """
    if c.primary != "accuracy" or c.rows != state.rows:
        raise OptionError(
            f"a sequential test of {state.rows} rows cannot decide {c.primary} on {c.rows} rows",
            hint="compare the accuracy on the rows of the test",
        )
    interval = ConfidenceInterval(state.low, state.high, state.level, "confidence sequence")
    first, *others = c.differences
    first = replace(first, interval=interval, p_value=state.p_value, test="e-process")
    verdict = "undecided" if state.decision == "continue" else state.decision
    return replace(
        c,
        differences=(first, *others),
        p_value=state.p_value,
        decision=Decision(verdict, state.text(c.a, c.b)),
        sequential=state,
    )


def all_decided_by(found: Comparisons, states: Iterable[SequentialState]) -> Comparisons:
    """Decide every comparison by its sequential test; the error rates of the tests add up."""
    done = tuple(decided_by(c, s) for c, s in zip(found.comparisons, states, strict=True))
    return Comparisons(found.baseline, done, overall(found.baseline, done))
