from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi")

from ecomfs.errors import EngineUnavailableError, OverloadedError
from ecomfs.serve.batcher import MicroBatcher
from ecomfs.types import Row


class Call:
    """Answers a row with its number; notes what it was asked, and waits while held."""

    def __init__(self, *, held: bool = False) -> None:
        self.sizes: list[int] = []
        self.open = asyncio.Event()
        if not held:
            self.open.set()

    async def __call__(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Any]:
        self.sizes.append(len(rows))
        await self.open.wait()
        if any(row["n"] == "bad" for row in rows):
            raise ValueError("one row is bad")
        if any(row["n"] == "gone" for row in rows):
            raise EngineUnavailableError("gone")
        return [(row["n"], id_) for row, id_ in zip(rows, ids, strict=True)]


def job(*numbers: Any) -> tuple[list[Row], list[str]]:
    return [{"n": n} for n in numbers], [f"id{n}" for n in numbers]


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_fifty_at_once_are_all_answered_in_few_calls() -> None:
    async def main() -> tuple[list[Any], list[int]]:
        call = Call()
        batcher = MicroBatcher(call, rows=8)
        answers = await asyncio.gather(*(batcher.submit(*job(i)) for i in range(50)))
        return answers, call.sizes

    answers, sizes = asyncio.run(main())
    assert answers == [[(i, f"id{i}")] for i in range(50)]
    assert sizes == [8, 8, 8, 8, 8, 8, 2]


@given(
    sizes=st.lists(st.integers(min_value=1, max_value=12), min_size=1, max_size=20),
    rows=st.integers(min_value=1, max_value=10),
    in_flight=st.integers(min_value=1, max_value=3),
)
def test_every_job_gets_its_own_results_in_order(
    sizes: list[int], rows: int, in_flight: int
) -> None:
    async def main() -> None:
        call = Call()
        batcher = MicroBatcher(call, rows=rows, window=0, in_flight=in_flight)
        jobs = [job(*((i, k) for k in range(n))) for i, n in enumerate(sizes)]
        answers = await asyncio.gather(*(batcher.submit(r, ids) for r, ids in jobs))
        for answer, (r, ids) in zip(answers, jobs, strict=True):
            assert answer == [(row["n"], id_) for row, id_ in zip(r, ids, strict=True)]
        assert sum(call.sizes) == sum(sizes)
        assert all(size <= max(rows, max(sizes)) for size in call.sizes)

    asyncio.run(main())


def test_a_job_is_never_split_even_above_the_batch_size() -> None:
    async def main() -> list[int]:
        call = Call()
        batcher = MicroBatcher(call, rows=4)
        await asyncio.gather(
            batcher.submit(*job(1, 2, 3)), batcher.submit(*job(*range(9))), batcher.submit(*job(4))
        )
        return call.sizes

    assert asyncio.run(main()) == [3, 9, 1]


def test_while_the_engine_works_jobs_gather_into_one_call() -> None:
    async def main() -> list[int]:
        call = Call(held=True)
        batcher = MicroBatcher(call, rows=100, window=0, in_flight=1)
        tasks = [asyncio.create_task(batcher.submit(*job(0)))]
        while not call.sizes:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(batcher.submit(*job(i))) for i in range(1, 30)]
        await settle()
        assert call.sizes == [1]
        call.open.set()
        await asyncio.gather(*tasks)
        return call.sizes

    assert asyncio.run(main()) == [1, 29]


def test_two_calls_at_most_run_at_once() -> None:
    async def main() -> int:
        call = Call(held=True)
        batcher = MicroBatcher(call, rows=1, in_flight=2)
        tasks = [asyncio.create_task(batcher.submit(*job(i))) for i in range(5)]
        await settle()
        running = len(call.sizes)
        call.open.set()
        await asyncio.gather(*tasks)
        assert len(call.sizes) == 5
        return running

    assert asyncio.run(main()) == 2


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def measured(call: Call, clock: Clock, seconds: float, **options: Any) -> MicroBatcher[Any]:
    """A batcher that has answered one row in 2 seconds."""
    batcher = MicroBatcher(call, rows=1, window=0, seconds=seconds, clock=clock, **options)
    first = asyncio.create_task(batcher.submit(*job("first")))
    await settle()
    clock.now += 2
    call.open.set()
    await first
    call.open.clear()
    return batcher


def test_work_beyond_the_limit_is_refused_and_the_rest_answered() -> None:
    async def main() -> None:
        call = Call(held=True)
        batcher = await measured(call, Clock(), 8.0, in_flight=1)
        tasks = []
        for i in range(4):  # one runs, three wait: eight seconds of work
            tasks.append(asyncio.create_task(batcher.submit(*job(i))))
            await settle()
        assert (batcher.waiting, batcher.backlog) == (3, 8.0)
        with pytest.raises(OverloadedError, match="3 rows are waiting: about 8 seconds") as told:
            await batcher.submit(*job(9, 10))
        assert told.value.seconds == 4.0
        call.open.set()
        assert await asyncio.gather(*tasks) == [[(i, f"id{i}")] for i in range(4)]
        assert await batcher.submit(*job(9)) == [(9, "id9")]
        assert (batcher.waiting, batcher.backlog) == (0, 0.0)

    asyncio.run(main())


def test_long_rows_are_more_work_than_short_ones() -> None:
    async def main() -> None:
        call = Call(held=True)
        work = {"first": 1.0, "short": 1.0, "long": 10.0}
        options = {"work": lambda row: work[row["n"]], "in_flight": 1}
        batcher = await measured(call, Clock(), 10.0, **options)
        running = asyncio.create_task(batcher.submit(*job("short")))
        await settle()
        with pytest.raises(OverloadedError):
            await batcher.submit(*job("long"))
        waits = asyncio.create_task(batcher.submit(*job("short")))
        await settle()
        call.open.set()
        await asyncio.gather(running, waits)

    asyncio.run(main())


def test_before_the_pace_is_known_rows_are_counted() -> None:
    async def main() -> None:
        call = Call(held=True)
        batcher = MicroBatcher(call, rows=1, in_flight=1, window=0)
        tasks = [asyncio.create_task(batcher.submit(*job(0)))]
        await settle()
        tasks.append(asyncio.create_task(batcher.submit(*job(*range(4096)))))
        await settle()
        with pytest.raises(OverloadedError, match="4096 rows are waiting"):
            await batcher.submit(*job(1))
        call.open.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_job_larger_than_the_limit_is_answered_when_nothing_waits() -> None:
    async def main() -> list[Any]:
        call = Call(held=True)
        batcher = await measured(call, Clock(), 3.0)
        call.open.set()
        return await batcher.submit(*job(*range(7)))

    assert len(asyncio.run(main())) == 7


def test_a_failing_engine_is_no_fast_one() -> None:
    async def main() -> float:
        call, clock = Call(held=True), Clock()
        batcher = await measured(call, clock, 60.0, in_flight=1)
        call.open.set()
        for _ in range(50):
            with pytest.raises(EngineUnavailableError):
                await batcher.submit(*job("gone"))
        call.open.clear()
        running = asyncio.create_task(batcher.submit(*job(0)))
        await settle()
        backlog = batcher.backlog
        call.open.set()
        await running
        return backlog

    assert asyncio.run(main()) == 2.0


def test_a_small_job_does_not_wait_for_two_large_ones() -> None:
    async def main() -> list[int]:
        call = Call(held=True)
        batcher = MicroBatcher(call, rows=2, window=0, in_flight=2)
        tasks = [asyncio.create_task(batcher.submit(*job(*range(n)))) for n in (6, 5, 1)]
        await settle()
        running = list(call.sizes)
        call.open.set()
        await asyncio.gather(*tasks)
        assert sorted(call.sizes) == [1, 5, 6]
        return running

    assert asyncio.run(main()) == [6, 1]


def test_one_bad_job_fails_alone() -> None:
    async def main() -> list[Any]:
        batcher = MicroBatcher(Call(), rows=8)
        return await asyncio.gather(
            batcher.submit(*job(1)),
            batcher.submit(*job("bad")),
            batcher.submit(*job(2)),
            return_exceptions=True,
        )

    first, bad, last = asyncio.run(main())
    assert (first, last) == ([(1, "id1")], [(2, "id2")])
    assert isinstance(bad, ValueError)


def test_an_engine_that_is_gone_is_asked_once_and_everybody_learns_it() -> None:
    async def main() -> tuple[list[Any], list[int]]:
        call = Call()
        batcher = MicroBatcher(call, rows=8)
        answers = await asyncio.gather(
            batcher.submit(*job(1)), batcher.submit(*job("gone")), return_exceptions=True
        )
        return answers, call.sizes

    answers, sizes = asyncio.run(main())
    assert all(isinstance(a, EngineUnavailableError) for a in answers)
    assert sizes == [2]


def test_a_cancelled_caller_is_dropped_and_others_are_not_affected() -> None:
    async def main() -> list[int]:
        call = Call(held=True)
        batcher = MicroBatcher(call, rows=4, window=0, in_flight=1)
        first = asyncio.create_task(batcher.submit(*job(0)))
        while not call.sizes:
            await asyncio.sleep(0)
        leaver = asyncio.create_task(batcher.submit(*job(1)))
        stayer = asyncio.create_task(batcher.submit(*job(2)))
        await settle()
        leaver.cancel()
        call.open.set()
        assert await first == [(0, "id0")]
        assert await stayer == [(2, "id2")]
        return call.sizes

    assert asyncio.run(main()) == [1, 1]


def test_a_batch_without_waiting_callers_is_cancelled_and_frees_capacity() -> None:
    async def main() -> None:
        call, ended = Call(held=True), []

        async def noted(rows: Sequence[Row], ids: Sequence[str]) -> list[Any]:
            try:
                return await call(rows, ids)
            except asyncio.CancelledError:
                ended.append(list(ids))
                raise

        batcher = MicroBatcher(noted, rows=2, window=0, in_flight=1)
        both = [asyncio.create_task(batcher.submit(*job(i))) for i in range(2)]
        await settle()
        waits = asyncio.create_task(batcher.submit(*job(2)))
        leaves = asyncio.create_task(batcher.submit(*job(3)))
        await settle()
        both[0].cancel()
        await settle()
        assert not ended  # somebody waits for the other row
        both[1].cancel()
        leaves.cancel()
        await settle()
        assert ended == [["id0", "id1"]]
        assert call.sizes == [2, 1]
        call.open.set()
        assert await waits == [(2, "id2")]
        assert call.sizes == [2, 1]
        assert batcher.waiting == 0

    asyncio.run(main())


def test_a_call_that_loses_rows_is_an_error_not_a_shift() -> None:
    async def short(rows: Sequence[Row], ids: Sequence[str]) -> list[str]:
        return list(ids)[1:]

    async def main() -> None:
        await MicroBatcher(short, rows=4).submit(*job(1, 2))

    with pytest.raises(RuntimeError, match="1 results for 2 rows"):
        asyncio.run(main())


class StagedCall(Call):
    """Is prepared and answers only when the test says so."""

    def __init__(self) -> None:
        super().__init__(held=True)
        self.ready = asyncio.Event()
        self.batcher: MicroBatcher[Any] | None = None

    async def __call__(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Any]:
        self.sizes.append(len(rows))
        await self.ready.wait()
        if any(row["n"] == "unread" for row in rows):
            raise ValueError("cannot be prepared")
        assert self.batcher is not None
        self.batcher.prepared()
        await self.open.wait()
        return [(row["n"], id_) for row, id_ in zip(rows, ids, strict=True)]


def test_while_a_batch_is_prepared_jobs_gather_for_the_next_one() -> None:
    async def main() -> tuple[list[int], list[int], list[Any]]:
        call = StagedCall()
        call.batcher = batcher = MicroBatcher(call, rows=8, window=0, staged=True)
        tasks = [asyncio.create_task(batcher.submit(*job(0)))]
        await settle()
        tasks += [asyncio.create_task(batcher.submit(*job(n))) for n in range(1, 5)]
        await settle()
        before = list(call.sizes)
        call.ready.set()  # the first is at the engine, which is still busy
        await settle()
        after = list(call.sizes)
        call.open.set()
        return before, after, await asyncio.gather(*tasks)

    before, after, answers = asyncio.run(main())
    assert before == [1]
    assert after == [1, 4]
    assert answers == [[(n, f"id{n}")] for n in range(5)]


def test_a_batch_that_cannot_be_prepared_makes_room() -> None:
    async def main() -> list[Any]:
        call = StagedCall()
        call.batcher = batcher = MicroBatcher(call, rows=1, window=0, staged=True)
        call.ready.set()
        call.open.set()
        tasks = [asyncio.create_task(batcher.submit(*job(n))) for n in ("unread", 1, 2)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    bad, *good = asyncio.run(main())
    assert isinstance(bad, ValueError)
    assert good == [[(1, "id1")], [(2, "id2")]]
