"""Rate limits, on a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=40), st.floats(1, 600))
def test_no_minute_holds_more_than_its_share(amounts: list[float], limit: float) -> None:
    clock = Clock()
    pace = Pace(limit, clock=clock, sleep=clock.sleep)
    moments: list[float] = []

    async def all_of_them() -> None:
        for amount in amounts:
            await pace.take(amount)
            moments.append(clock.now)

    asyncio.run(all_of_them())
    for i, start in enumerate(moments):
        within = [a for a, m in zip(amounts[i:], moments[i:], strict=True) if m < start + 60 - 1e-6]
        # The last one of a minute may end in the next.
        assert sum(within[:-1]) <= limit * (1 + 1e-6)


def test_no_limit_no_wait() -> None:
    clock = Clock()
    asyncio.run(Pace(None, clock=clock, sleep=clock.sleep).take(1e9))
    assert clock.now == 100


def test_a_correction_counts_for_the_next() -> None:
    clock = Clock()
    pace = Pace(60, clock=clock, sleep=clock.sleep)

    async def two() -> None:
        await pace.take(10)
        pace.correct(5)
        await pace.take(1)

    asyncio.run(two())
    assert clock.now == pytest.approx(115)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_no_limit_at_all_is_written_otherwise(limit: float) -> None:
    with pytest.raises(ValueError, match="a minute"):
        Pace(limit)
