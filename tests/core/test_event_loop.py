"""Synchronous calls into asynchronous code, from every kind of caller."""

from __future__ import annotations

import asyncio

from ecomfs.core import event_loop


async def one() -> int:
    await asyncio.sleep(0)
    return 1


def test_a_blocking_call_on_the_background_loop_itself_ends() -> None:
    async def blocks() -> int:
        return event_loop.run(one())

    assert event_loop.run(blocks()) == 1


def test_another_loop_stays_free_while_it_awaits() -> None:
    async def both() -> tuple[int, int]:
        first, second = await asyncio.gather(event_loop.run_async(one()), one())
        return first, second

    assert asyncio.run(both()) == (1, 1)


def test_submit_returns_before_the_result_is_there() -> None:
    gate = asyncio.Event()

    async def waits() -> int:
        await gate.wait()
        return 2

    future = event_loop.submit(waits())
    assert not future.done()
    event_loop.background_loop().call_soon_threadsafe(gate.set)
    assert future.result() == 2
