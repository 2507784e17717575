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


def test_rows_beyond_the_limit_are_refused_and_the_rest_answered() -> None:
    async def main() -> None:
        call = Call(held=True)
        batcher = MicroBatcher(call, rows=1, pending=3, in_flight=1)
        tasks = [asyncio.create_task(batcher.submit(*job(0)))]
        await settle()
        tasks += [asyncio.create_task(batcher.submit(*job(i))) for i in range(1, 4)]
        await settle()
        assert call.sizes == [1]
        with pytest.raises(OverloadedError, match="3 rows wait"):
            await batcher.submit(*job(9))
        call.open.set()
        assert await asyncio.gather(*tasks) == [[(i, f"id{i}")] for i in range(4)]
        assert await batcher.submit(*job(9)) == [(9, "id9")]

    asyncio.run(main())


def test_a_job_larger_than_the_limit_is_answered_when_nothing_waits() -> None:
    async def main() -> list[Any]:
        return await MicroBatcher(Call(), rows=2, pending=3).submit(*job(*range(7)))

    assert len(asyncio.run(main())) == 7


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


def test_who_gives_up_is_not_asked_for_and_disturbs_nobody() -> None:
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


def test_a_call_that_loses_rows_is_an_error_not_a_shift() -> None:
    async def short(rows: Sequence[Row], ids: Sequence[str]) -> list[str]:
        return list(ids)[1:]

    async def main() -> None:
        await MicroBatcher(short, rows=4).submit(*job(1, 2))

    with pytest.raises(RuntimeError, match="1 results for 2 rows"):
        asyncio.run(main())
