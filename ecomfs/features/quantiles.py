"""The rank of a number in the pool, in words."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs.types import Language

MIN_VALUES = 20
"""Fewest numbers of the pool for words about a rank."""
MIN_DISTINCT = 5
_KEPT = 401
_STEPS = (
    (10, "very low", "很低"),
    (30, "low", "偏低"),
    (70.0001, "average", "中等"),
    (90.0001, "high", "偏高"),
    (101, "very high", "很高"),
)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The distribution of a number in the pool: at most 401 of its order statistics.

    >>> q = Quantiles.of(range(100))
    >>> q.percentile(87), q.words(87, "en"), q.words(5, "zh")
    (87, 'high, 87th percentile', '很低，第5百分位')
    >>> Quantiles.of([0] * 70 + list(range(30))).words(0, "en")
    'as for most'
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, numbers: Sequence[float] | range) -> Quantiles:
        """The quantiles of a pool's numbers, in any order."""
        ordered = sorted(map(float, numbers))
        if len(ordered) > _KEPT:
            last = len(ordered) - 1
            ordered = [ordered[round(i * last / (_KEPT - 1))] for i in range(_KEPT)]
        return cls(tuple(ordered))

    @property
    def informative(self) -> bool:
        """Whether there are enough different numbers for words about a rank."""
        return len(self.values) >= MIN_VALUES and len(set(self.values)) >= MIN_DISTINCT

    def rank(self, number: float) -> float:
        """Share of the pool below the number, from 0 to 1; ties count half."""
        low, high = bisect_left(self.values, number), bisect_right(self.values, number)
        return (low + high) / (2 * len(self.values))

    def percentile(self, number: float) -> int:
        """The rank as a whole number from 1 to 99."""
        return min(99, max(1, int(100 * self.rank(number))))

    def words(self, number: float, language: Language) -> str:
        """A word for the rank, and the percentile; empty unless :attr:`informative`."""
        if not self.informative:
            return ""
        ties = bisect_right(self.values, number) - bisect_left(self.values, number)
        if 2 * ties >= len(self.values):
            return "多数如此" if language == "zh" else "as for most"
        place = self.percentile(number)
        _, en, zh = next(step for step in _STEPS if 100 * self.rank(number) < step[0])
        word = zh if language == "zh" else en
        if language == "zh":
            return f"{word}，第{place}百分位"
        return f"{word}, {place}{_suffix(place)} percentile"


def _suffix(number: int) -> str:
    if 11 <= number % 100 <= 13:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
