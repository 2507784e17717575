"""The processors of this machine: how many this process may use, and what they can compute."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cpus() -> int:
    """Processors that the system lets this process use, which may be fewer than there are.

    Examples
    --------
    >>> usable_cpus() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the processor.

    Parameters
    ----------
    cpuinfo
        Where Linux lists them.

    Returns
    -------
    frozenset of str
        As Linux names them, such as ``avx2`` and ``avx512_bf16``; empty on other systems.

    Examples
    --------
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
