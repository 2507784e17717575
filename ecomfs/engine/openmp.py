"""OpenMP threads that sleep while they wait.

They spin by default. With one other busy process on two cores, spinning threads burn the very time
slices that the thread they wait for needs: a prompt of 300 tokens took 20 to 60 s instead of 3.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NAME = "OMP_WAIT_POLICY"


@contextmanager
def sleeping_threads() -> Iterator[None]:
    """Wraps the import that loads OpenMP, which reads the environment only then. A policy that
    the user has set stays; the environment is afterwards as it was."""
    if _NAME in os.environ:
        yield
        return
    os.environ[_NAME] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ[_NAME]
