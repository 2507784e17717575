"""The processors of this machine: those that this process may use, their instruction sets, and how
OpenMP threads wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def usable_cpus() -> list[int]:
    """Numbers of the processors that this process may use, which may be only some of them."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextmanager
def sleeping_threads() -> Iterator[None]:
    """Import OpenMP inside the block so that its threads sleep while they wait.

    They spin by default, and take time from the thread that they wait for: with another busy
    process on two cores a prompt of 300 tokens took 20 to 60 s instead of 3. OpenMP reads the
    environment at import; a policy that the user has set is kept.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ["OMP_WAIT_POLICY"]


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the processor.

    Args:
        cpuinfo: where Linux lists them.

    Returns:
        As Linux names them, such as ``avx2`` and ``avx512_bf16``; empty on other systems.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "cpuinfo"
    >>> _ = file.write_text("processor\\t: 0\\nflags\\t\\t: fpu avx2\\n\\nprocessor\\t: 1\\n")
    >>> sorted(processor_flags(file))
    ['avx2', 'fpu']
    """
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()
