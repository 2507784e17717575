"""Blocking work in one thread, and how a runtime's own threads wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ecomfs.errors import EngineUnavailableError

T = TypeVar("T")


def check_not_forked(owner: int, name: str) -> None:
    """Refuse a model that another process loaded: a fork copies no threads, so every call on it
    would never return.

    Args:
        owner: id of the process that loaded it.
        name: its name, for the message.

    Raises:
        EngineUnavailableError: this process is a fork of ``owner``.
    """
    if os.getpid() != owner:
        raise EngineUnavailableError(
            f"{name}: the model was loaded before this process was forked, and cannot be used here",
            hint="open the engine in this process, or start processes with 'spawn'",
        )


class Worker:
    """Runs one job at a time in one thread. A job gets an event and must check it between steps: it
    is set when the caller was cancelled, because a thread cannot be stopped from outside.

    Args:
        name: of the thread.
        engine: the engine's name, for messages.
    """

    def __init__(self, name: str, engine: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._engine = engine
        self._owner = os.getpid()

    async def run(self, job: Callable[[threading.Event], T]) -> T:
        """The job's result; its exceptions are raised here.

        Raises:
            EngineUnavailableError: in a process that was forked from the one with the thread.
        """
        check_not_forked(self._owner, self._engine)
        given_up = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one with the thread: there is nothing to use and
        nothing to close."""
        return os.getpid() != self._owner

    def close(self) -> None:
        """Take no more jobs."""
        if not self.forked:
            self._pool.shutdown(wait=False)
