"""The quantile of a number among those of the pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.features.quantiles import Quantiles

NUMBERS = st.lists(st.integers(-50, 50), min_size=1, max_size=60)


@given(NUMBERS, st.integers(-60, 60), st.integers(-60, 60))
def test_quantiles_are_monotone(pool: list[int], one: int, other: int) -> None:
    quantiles = Quantiles.of(pool)
    low, high = sorted((one, other))
    assert 0 <= quantiles.rank(low) <= quantiles.rank(high) <= 1
    assert 1 <= quantiles.percentile(low) <= quantiles.percentile(high) <= 99


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_pool_makes_no_difference(random: object) -> None:
    numbers = [*range(1000)]
    random.shuffle(numbers)  # type: ignore[attr-defined]
    assert Quantiles.of(numbers) == Quantiles.of(range(1000))


def test_a_large_pool_keeps_its_ends_and_ranks() -> None:
    quantiles = Quantiles.of(range(100_000))
    assert len(quantiles.values) == 401
    assert (quantiles.values[0], quantiles.values[-1]) == (0, 99_999)
    assert quantiles.rank(25_000) == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize(
    ("number", "en", "zh"),
    [
        (1, "very low, 1st percentile", "很低，第1百分位"),
        (12, "low, 12th percentile", "偏低，第12百分位"),
        (50, "average, 50th percentile", "中等，第50百分位"),
        (72, "high, 72nd percentile", "偏高，第72百分位"),
        (93, "very high, 93rd percentile", "很高，第93百分位"),
        (1000, "very high, 99th percentile", "很高，第99百分位"),
    ],
)
def test_the_place_in_words(number: int, en: str, zh: str) -> None:
    quantiles = Quantiles.of(range(100))
    assert (quantiles.words(number, "en"), quantiles.words(number, "zh")) == (en, zh)


def test_few_or_equal_numbers_say_nothing() -> None:
    assert Quantiles.of(range(19)).words(3, "en") == ""
    assert Quantiles.of([1, 2, 3, 4] * 10).words(3, "en") == ""
