"""The synchronous facade over the asynchronous core: one event loop in one background thread.

A loop of our own works inside notebooks and web servers, where ``asyncio.run`` refuses because
a loop runs already, and keeps HTTP sessions bound to the loop they were opened on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

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


async def bridge(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and await it from any other loop.

    Engines are bound to the background loop; a caller with a loop of its own comes through here.
    """
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop()))
