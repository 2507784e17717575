"""Load on servers: the request window, the rate limit, the health of a server pool."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine.servers import IN_A_ROW, RateLimit, ServerPool, Window
from ecomfs.errors import EngineError, EngineTimeoutError, EngineUnavailableError

GONE = EngineUnavailableError("gone")


async def passes(_: str) -> None:
    """A probe that finds all well."""


async def still_gone(_: str) -> None:
    raise GONE


def pool(*urls: str, most: int = 2, revive: Callable[..., object] = passes) -> ServerPool:
    return ServerPool(urls, most, revive, 3600.0)  # type: ignore[arg-type]


@given(requests=st.integers(1, 60), most=st.integers(1, 5), servers=st.integers(1, 3))
def test_all_get_their_turn_within_the_windows(requests: int, most: int, servers: int) -> None:
    async def run() -> tuple[int, int]:
        several = pool(*map(str, range(servers)), most=most)
        busy = peak = done = 0

        async def one() -> None:
            nonlocal busy, peak, done
            server, _ = await several.acquire()
            busy += 1
            peak = max(peak, busy)
            assert server.window.in_flight <= most
            await asyncio.sleep(0)
            busy -= 1
            done += 1
            several.succeeded(server)
            several.release(server)

        await asyncio.gather(*(one() for _ in range(requests)))
        return done, peak

    done, peak = asyncio.run(run())
    assert done == requests
    assert peak == min(requests, most * servers)


@given(seed=st.integers(0, 10_000))
def test_a_cancelled_caller_does_not_block_others(seed: int) -> None:
    rng = random.Random(seed)

    async def run() -> int:
        one_slot = pool("a", most=1)
        done = 0

        async def one() -> None:
            nonlocal done
            server, sent = await one_slot.acquire()
            try:
                await asyncio.sleep(0)
                if rng.random() < 0.2:
                    server.window.overloaded(sent)
            finally:
                one_slot.release(server)
            done += 1

        tasks = [asyncio.create_task(one()) for _ in range(20)]
        for task in rng.sample(tasks, 10):
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r is None or isinstance(r, asyncio.CancelledError) for r in results)
        assert done == sum(r is None for r in results)
        server, _ = await one_slot.acquire()
        assert server.window.in_flight == 1
        return done

    assert asyncio.run(run()) >= 10


def test_the_least_busy_first() -> None:
    async def run() -> list[str]:
        three = pool("a", "b", "c")
        return [(await three.acquire())[0].url for _ in range(6)]

    assert asyncio.run(run()) == ["a", "b", "c"] * 2


def test_waiting_callers_get_an_error_when_all_servers_are_gone() -> None:
    async def run() -> list[object]:
        one = pool("a", most=1, revive=still_gone)
        server, _ = await one.acquire()
        waiting = [asyncio.create_task(one.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        one.failed(server, GONE, unreachable=True)
        one.release(server)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert asyncio.run(run()) == [GONE] * 3


def test_one_probe_serves_all_waiting_callers() -> None:
    probes: list[str] = []

    async def revive(url: str) -> None:
        probes.append(url)
        await asyncio.sleep(0)

    async def run() -> None:
        one = pool("a", most=5, revive=revive)
        server, _ = await one.acquire()
        one.failed(server, GONE, unreachable=True)
        one.release(server)
        await asyncio.gather(*(one.acquire() for _ in range(5)))

    asyncio.run(run())
    assert probes == ["a"]


@pytest.mark.parametrize("urls", [("a",), ("a", "b")])
def test_failures_in_a_row_take_a_server_out_only_if_there_is_another(urls: tuple[str]) -> None:
    slow: EngineError = EngineTimeoutError("slow")

    async def run() -> int:
        some = pool(*urls)
        server, _ = await some.acquire()
        for _ in range(IN_A_ROW - 1):
            some.failed(server, slow, unreachable=False)
        some.succeeded(server)
        for _ in range(IN_A_ROW):
            assert server.unhealthy is None
            some.failed(server, slow, unreachable=False)
        return len(some.healthy)

    assert asyncio.run(run()) == 1


def test_the_window_starts_at_its_maximum() -> None:
    assert Window(8).limit == 8
    assert Window(0).limit == 1


def test_one_burst_of_refusals_halves_once() -> None:
    window = Window(16)
    sent = [window.enter() for _ in range(16)]
    for mark in sent:
        window.overloaded(mark)
    assert window.limit == 8
    window.overloaded(window.enter())
    assert window.limit == 4


def test_the_window_grows_by_one_per_full_window() -> None:
    window = Window(8)
    window.overloaded(window.enter())
    for expected in (5, 6, 7, 8, 8):
        for _ in range(window.limit):
            window.answered()
        assert window.limit == expected


@given(st.lists(st.sampled_from(["enter", "leave", "answered", "overloaded"])), st.integers(1, 64))
def test_the_window_stays_between_one_and_its_maximum(events: list[str], most: int) -> None:
    window = Window(most)
    marks: list[int] = []
    for event in events:
        if event == "enter" and window.room:
            marks.append(window.enter())
        elif event == "leave" and marks:
            marks.pop()
            window.leave()
        elif event == "answered":
            window.answered()
        elif event == "overloaded" and marks:
            window.overloaded(marks[-1])
        assert 1 <= window.limit <= most
        assert window.in_flight == len(marks)


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
    pace = RateLimit(limit, clock=clock, sleep=clock.sleep)
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
    asyncio.run(RateLimit(None, clock=clock, sleep=clock.sleep).take(1e9))
    assert clock.now == 100


def test_a_correction_counts_for_the_next() -> None:
    clock = Clock()
    pace = RateLimit(60, clock=clock, sleep=clock.sleep)

    async def two() -> None:
        await pace.take(10)
        pace.correct(5)
        await pace.take(1)

    asyncio.run(two())
    assert clock.now == pytest.approx(115)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_no_limit_at_all_is_written_otherwise(limit: float) -> None:
    with pytest.raises(ValueError, match="per minute"):
        RateLimit(limit)
