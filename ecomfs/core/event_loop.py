"""The background event loop: synchronous calls into asynchronous code, from any thread or loop.

``asyncio.run`` fails in notebooks and web servers, where a loop runs already, and HTTP sessions
belong to the loop on which they were opened. One loop in one daemon thread avoids both. Engines
and HTTP sessions live on it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from ecomfs.errors import EngineUnavailableError

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_FIRST = "ecomfs-loop"
_lock = threading.Lock()
_loops: dict[str, asyncio.AbstractEventLoop] = {}


def background_loop() -> asyncio.AbstractEventLoop:
    """The background event loop, started at first use."""
    return _loop(_FIRST)


def _loop(name: str) -> asyncio.AbstractEventLoop:
    with _lock:
        loop = _loops.get(name)
        if loop is None or loop.is_closed():
            try:
                loop = asyncio.new_event_loop()
            except OSError as error:
                raise EngineUnavailableError(
                    f"no event loop can be started: {error.strerror}",
                    hint="allow more open files: ulimit -n 1024",
                ) from error
            _loops[name] = loop
            threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
        return loop


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the background loop and return at once.

    Raises:
        EngineUnavailableError: the system has no handles left for a loop.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, _for(coroutine, _FIRST))


def _for(coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.AbstractEventLoop:
    """A loop for a coroutine. If none can be started, the coroutine is closed."""
    try:
        return _loop(name)
    except EngineUnavailableError:
        coroutine.close()
        raise


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result.

    Called on the background loop itself, the coroutine runs on a second loop: the first one is
    blocked until the result is there, so it could never compute it.

    Raises:
        EngineUnavailableError: the system has no handles left for a loop.

    >>> async def one() -> int:
    ...     return 1
    >>> run(one())
    1
    """
    loop = _for(coroutine, _FIRST)
    if is_running_here(loop):
        loop = _for(coroutine, "ecomfs-second-loop")
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except KeyboardInterrupt:
        # The caller stopped waiting: the work on the loop must stop too.
        future.cancel()
        raise


def is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the caller runs on ``loop``, and so must not block to wait for it."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and await its result on any other loop."""
    return await asyncio.wrap_future(submit(coroutine))


async def gather_groups(
    keys: Sequence[K], ask: Callable[[K, list[int]], Awaitable[Sequence[T]]]
) -> list[T]:
    """Process items with equal keys together, all groups concurrently.

    Args:
        keys: one per item.
        ask: takes a key and the positions of its items, gives one result per position.

    Returns:
        One result per item, in the order of ``keys``.

    >>> async def shout(key: str, places: list[int]) -> list[str]:
    ...     return [f"{key}{place}" for place in places]
    >>> run(gather_groups(["a", "b", "a"], shout))
    ['a0', 'b1', 'a2']
    """
    groups: dict[K, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        groups[key].append(place)
    found = await asyncio.gather(*(ask(key, places) for key, places in groups.items()))
    answers: dict[int, T] = {}
    for places, part in zip(groups.values(), found, strict=True):
        answers.update(zip(places, part, strict=True))
    return [answers[place] for place in range(len(keys))]


def abandon(inherited: object) -> None:
    """Never free an object that a forked process inherited and cannot use.

    Its destructor would wait for threads that the fork did not copy, also at exit.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _after_fork() -> None:
    # Threads do not survive a fork: the child's first call starts a loop of its own.
    global _lock
    _lock = threading.Lock()
    for loop in _loops.values():
        abandon(loop)  # closing it would close the parent's selector
    _loops.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
