"""Opens and closes the embedded engine many times while other processes use all cores.

If llama.cpp is told to end before its main loop has begun, its destructor waits for ever and holds
Python's lock, so that no signal ends the process (:mod:`ecomfs.engine.llama.process`). This happens
on busy machines. A watchdog that does not need the lock ends this script in that case.

    python eval/bench/open_close.py
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ecomfs.engine.factory import open_engine

WATCHDOG_SECONDS = 600
"""Longest time one opening and closing may take."""


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Run processes that keep the cores busy while the block runs."""
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=_loop, args=(os.getpid(),), daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def _loop(parent: int) -> None:
    # A parent that is killed, or ended by the watchdog, does not kill its children.
    while os.getppid() == parent:
        pass


def open_and_close(spec: str) -> float:
    """Seconds that opening and closing took."""
    start = time.perf_counter()
    engine = open_engine(spec, context=256)
    asyncio.run(engine.aclose())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="gguf:smollm2")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--busy", type=int, default=2, help="busy processes (default: 2)")
    given = parser.parse_args()
    times = []
    with busy_cores(given.busy):
        for _ in range(given.times):
            faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True)
            times.append(open_and_close(given.engine))
            faulthandler.cancel_dump_traceback_later()
    print(
        f"{given.engine} opened and closed {len(times)} times with {given.busy} busy processes: "
        f"{sum(times):.1f} s, median {sorted(times)[len(times) // 2]:.2f} s, "
        f"longest {max(times):.2f} s"
    )


if __name__ == "__main__":
    main()
