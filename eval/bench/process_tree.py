"""CPU time and memory of a process and all its children, from ``/proc`` (Linux)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Samples a tree of processes every tenth of a second.

    CPU time is what each process was last seen to have used, so that of a process that ends at
    most a tenth of a second is missed. Memory is the sum of resident pages; pages that processes
    share count in each.

    Attributes:
        peak: most bytes at one look since :meth:`forget`.
    """

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._used: dict[int, float] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self.peak = 0
        threading.Thread(target=self._run, daemon=True).start()

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        self._look()
        with self._lock:
            return sum(self._used.values())

    def forget(self) -> None:
        """Reset the peak."""
        self.peak = 0

    def close(self) -> None:
        """Stop sampling."""
        self._done.set()

    def _run(self) -> None:
        while not self._done.wait(0.1):
            self._look()

    def _look(self) -> None:
        found = {p: s for p in _pids() if (s := _stat(p)) is not None}
        tree = {self._root}
        grown = True
        while grown:
            children = {p for p, (parent, _, _) in found.items() if parent in tree} - tree
            tree |= children
            grown = bool(children)
        with self._lock:
            resident = 0
            for pid in tree & found.keys():
                _, cpu, pages = found[pid]
                self._used[pid] = max(cpu, self._used.get(pid, 0.0))
                resident += pages * _PAGE
            self.peak = max(self.peak, resident)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> tuple[int, float, int] | None:
    """Parent, CPU seconds and resident pages."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK, int(fields[21])
