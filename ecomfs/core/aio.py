"""The synchronous facade over the asynchronous core: one event loop in one background thread.

A loop of our own works inside notebooks and web servers, where ``asyncio.run`` refuses because
a loop runs already, and keeps HTTP sessions bound to the loop they were opened on.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def loop() -> asyncio.AbstractEventLoop:
    """The background event loop, started at first use."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="ecomfs-loop", daemon=True).start()
        return _loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result.

    >>> async def one() -> int:
    ...     return 1
    >>> run(one())
    1
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, loop())
    try:
        return future.result()
    except KeyboardInterrupt:
        # The caller gives up: the work on the loop must stop too, or it would go on unseen.
        future.cancel()
        raise


def leave_behind(inherited: object) -> None:
    """Keep what a forked process inherited and cannot use from being destroyed there: to end,
    it would wait for threads that are not there, also when the process ends.

    >>> leave_behind(None)
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _after_fork() -> None:
    # Threads do not survive a fork: the child's first call starts a loop of its own.
    global _lock, _loop
    _lock = threading.Lock()
    if _loop is not None:
        leave_behind(_loop)  # closing it would close the parent's selector
    _loop = None


async def grouped(
    keys: Sequence[K], ask: Callable[[K, list[int]], Awaitable[Sequence[T]]]
) -> list[T]:
    """Items of equal keys asked together, all groups at once; answers in the order of the items.

    Args:
        keys: one an item.
        ask: given a key and the positions of its items, their answers in that order.

    >>> async def shout(key: str, places: list[int]) -> list[str]:
    ...     return [f"{key}{place}" for place in places]
    >>> run(grouped(["a", "b", "a"], shout))
    ['a0', 'b1', 'a2']
    """
    alike: dict[K, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        alike[key].append(place)
    found = await asyncio.gather(*(ask(key, places) for key, places in alike.items()))
    answers: dict[int, T] = {}
    for places, part in zip(alike.values(), found, strict=True):
        answers.update(zip(places, part, strict=True))
    return [answers[place] for place in range(len(keys))]


async def bridge(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and await it from any other loop.

    Engines are bound to the background loop; a caller with a loop of its own comes through here.
    """
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
