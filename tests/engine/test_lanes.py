"""Which server gets a request, and who waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine.lanes import IN_A_ROW, Lanes
from ecomfs.errors import EngineError, EngineTimeoutError, EngineUnavailableError

GONE = EngineUnavailableError("gone")


async def passes(_: str) -> None:
    """A probe that finds all well."""


async def still_gone(_: str) -> None:
    raise GONE


def lanes(*urls: str, most: int = 2, revive: Callable[..., object] = passes) -> Lanes:
    return Lanes(urls, most, revive, 3600.0)  # type: ignore[arg-type]


@given(requests=st.integers(1, 60), most=st.integers(1, 5), servers=st.integers(1, 3))
def test_all_get_their_turn_within_the_windows(requests: int, most: int, servers: int) -> None:
    async def run() -> tuple[int, int]:
        several = lanes(*map(str, range(servers)), most=most)
        busy = peak = done = 0

        async def one() -> None:
            nonlocal busy, peak, done
            lane, _ = await several.take()
            busy += 1
            peak = max(peak, busy)
            assert lane.window.busy <= most
            await asyncio.sleep(0)
            busy -= 1
            done += 1
            several.works(lane)
            several.give(lane)

        await asyncio.gather(*(one() for _ in range(requests)))
        return done, peak

    done, peak = asyncio.run(run())
    assert done == requests
    assert peak == min(requests, most * servers)


@given(seed=st.integers(0, 10_000))
def test_who_gives_up_holds_nobody_else_up(seed: int) -> None:
    rng = random.Random(seed)

    async def run() -> int:
        one_slot = lanes("a", most=1)
        done = 0

        async def one() -> None:
            nonlocal done
            lane, sent = await one_slot.take()
            try:
                await asyncio.sleep(0)
                if rng.random() < 0.2:
                    lane.window.overloaded(sent)
            finally:
                one_slot.give(lane)
            done += 1

        tasks = [asyncio.create_task(one()) for _ in range(20)]
        for task in rng.sample(tasks, 10):
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r is None or isinstance(r, asyncio.CancelledError) for r in results)
        assert done == sum(r is None for r in results)
        lane, _ = await one_slot.take()
        assert lane.window.busy == 1
        return done

    assert asyncio.run(run()) >= 10


def test_the_least_busy_first() -> None:
    async def run() -> list[str]:
        three = lanes("a", "b", "c")
        return [(await three.take())[0].url for _ in range(6)]

    assert asyncio.run(run()) == ["a", "b", "c"] * 2


def test_those_who_wait_are_told_when_all_are_gone() -> None:
    async def run() -> list[object]:
        one = lanes("a", most=1, revive=still_gone)
        lane, _ = await one.take()
        waiting = [asyncio.create_task(one.take()) for _ in range(3)]
        await asyncio.sleep(0)
        one.fails(lane, GONE, unreachable=True)
        one.give(lane)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert asyncio.run(run()) == [GONE] * 3


def test_one_probe_serves_all_who_wait_for_it() -> None:
    probes: list[str] = []

    async def revive(url: str) -> None:
        probes.append(url)
        await asyncio.sleep(0)

    async def run() -> None:
        one = lanes("a", most=5, revive=revive)
        lane, _ = await one.take()
        one.fails(lane, GONE, unreachable=True)
        one.give(lane)
        await asyncio.gather(*(one.take() for _ in range(5)))

    asyncio.run(run())
    assert probes == ["a"]


@pytest.mark.parametrize("urls", [("a",), ("a", "b")])
def test_failures_in_a_row_take_a_server_out_only_if_there_is_another(urls: tuple[str]) -> None:
    slow: EngineError = EngineTimeoutError("slow")

    async def run() -> int:
        some = lanes(*urls)
        lane, _ = await some.take()
        for _ in range(IN_A_ROW - 1):
            some.fails(lane, slow, unreachable=False)
        some.works(lane)
        for _ in range(IN_A_ROW):
            assert lane.gone is None
            some.fails(lane, slow, unreachable=False)
        return len(some.alive)

    assert asyncio.run(run()) == 1
