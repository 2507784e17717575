"""The process in which one system is measured: JSON lines in, JSON lines out.

    python worker.py MODULE FOLDER

``MODULE`` is a file in this folder with a class ``System``; ``FOLDER`` holds the pool:
``vectors.npy`` and ``queries.npy`` (float16 unit rows) and ``texts.txt``. Times are taken inside
the process, without the pipe; memory is that of the process minus its memory after importing its
packages. It imports nothing of the project, so that it runs in every library's environment.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np

K = 8


class System(Protocol):
    """What is measured."""

    def __init__(self, folder: Path) -> None:
        """Build from the pool."""

    def search(self, numbers: list[int]) -> tuple[list[list[int]], Any]:
        """For each numbered query, the positions of its eight neighbours, the best first, and
        their similarities in whatever form."""


def memory(field: str) -> int:
    """Bytes of this process: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status: Linux only")


def read_texts(folder: Path) -> list[str]:
    """The texts of the pool."""
    return (folder / "texts.txt").read_text(encoding="utf-8").splitlines()


def main() -> None:
    """Serve one parent."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what packages print is no answer
    module = importlib.import_module(sys.argv[1])
    folder = Path(sys.argv[2])
    before = memory("VmRSS")
    system: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        if order["do"] == "build":
            began = time.perf_counter()
            system = module.System(folder)
            answer = {"seconds": time.perf_counter() - began}
        elif order["do"] == "search":
            if order["warm"]:  # the turn of another system may have emptied the caches
                system.search(order["calls"][0])
            answer = {"ms": [], "cpu_ms": [], "found": []}
            for numbers in order["calls"]:
                wall, cpu = time.perf_counter(), time.process_time()
                found, _ = system.search(numbers)
                answer["cpu_ms"].append(1e3 * (time.process_time() - cpu))
                answer["ms"].append(1e3 * (time.perf_counter() - wall))
                answer["found"].append(found)
        # Any other order only asks for the memory.
        answer |= {"rss": memory("VmRSS") - before, "peak": memory("VmHWM") - before}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def vectors(folder: Path, name: str = "vectors.npy") -> Any:
    """Float16 unit rows, memory-mapped."""
    return np.load(folder / name, mmap_mode="r", allow_pickle=False)


if __name__ == "__main__":
    sys.modules["worker"] = sys.modules["__main__"]
    main()
