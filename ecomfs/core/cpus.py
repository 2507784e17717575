"""How many processors this process may use."""

from __future__ import annotations

import os


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
