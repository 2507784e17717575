"""One thread for blocking work, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ecomfs.errors import EngineUnavailableError

T = TypeVar("T")


class Worker:
    """Runs one job at a time. A job is given an event and must look at it between two steps:
    it is set when the caller has given up, because a thread cannot be stopped from outside."""

    def __init__(self, name: str) -> None:
        self._process = os.getpid()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, job: Callable[[threading.Event], T]) -> T:
        """The job's result; its exceptions are raised here.

        Raises:
            EngineUnavailableError: this process was forked after the engine was opened: it has
                the engine's memory, and none of its threads.
        """
        if self._process != os.getpid():
            raise EngineUnavailableError(
                "the engine was opened before this process was forked: its threads are not here",
                hint="open it in each process, or give its name to the classifier",
            )
        given_up = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise

    def close(self) -> None:
        """Take no more jobs."""
        self._pool.shutdown(wait=False)
