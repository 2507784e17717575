"""Estimates from a sample, with their uncertainty."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs.errors import ConfigError

_Z = 1.96  # 95 %


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; exact when both ends are equal."""

    value: float
    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Nothing was sampled."""
        return self.low == self.high

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in any currency.

    Attributes:
        prompt: a million prompt tokens.
        cached: a million prompt tokens that the provider had in its cache; ``None``: as the rest.
        answer: a million answer tokens.
    """

    prompt: float
    cached: float | None = None
    answer: float = 0.0

    def __post_init__(self) -> None:
        for value in (self.prompt, self.cached, self.answer):
            if value is not None and value < 0:
                raise ConfigError(f"a price of {value}", hint="0 or more, for a million tokens")


def share_of(count: int, sampled: int, total: int, whole: bool) -> Interval:
    """A count in a sample, taken to all; Wilson's interval for the share."""
    if whole or not sampled:
        return Interval(count, count, count) if whole else Interval(0, 0, 0)
    z, n = _Z, sampled
    p = count / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return Interval(p * total, max(0.0, centre - half) * total, min(1.0, centre + half) * total)


def total_of(tokens: Sequence[int], rows: Interval, whole: bool) -> Interval:
    """Tokens of all rows from those of a sample: mean times rows."""
    if whole or not tokens:
        return Interval(sum(tokens), sum(tokens), sum(tokens))
    mean = statistics.fmean(tokens)
    half = _Z * statistics.stdev(tokens) / len(tokens) ** 0.5 if len(tokens) > 1 else mean
    return Interval(mean * rows.value, max(0.0, mean - half) * rows.low, (mean + half) * rows.high)


def cost_of(
    prices: Prices | None,
    prompt: Interval | None,
    answer: Interval,
    shared: float | None,
) -> Interval | None:
    if prices is None or prompt is None:
        return None
    each = prices.prompt
    if prices.cached is not None and shared is not None:
        each += (prices.cached - prices.prompt) * shared
    return prompt * (each / 1e6) + answer * (prices.answer / 1e6)


def both(one: Interval | None, other: Interval | None) -> Interval | None:
    return None if one is None or other is None else one + other
