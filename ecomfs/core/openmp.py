"""How OpenMP, which several model runtimes bring, behaves on a machine that is not idle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NAME = "OMP_WAIT_POLICY"


@contextmanager
def sleeping_threads() -> Iterator[None]:
    """Import OpenMP inside the block so that its threads sleep while they wait.

    They spin by default, and take time from the thread that they wait for: with another busy
    process on two cores a prompt of 300 tokens took 20 to 60 s instead of 3. OpenMP reads the
    environment at import; a policy that the user has set stays.
    """
    if _NAME in os.environ:
        yield
        return
    os.environ[_NAME] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ[_NAME]
