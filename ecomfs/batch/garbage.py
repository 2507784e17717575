"""Python's collector of cyclic garbage, made patient while millions of small objects pass by.

A block of rows is thousands of objects that all live until it is stored, and none of them is in a
cycle: at its usual pace the collector looks through them again and again, which was a fifteenth of
a row's CPU.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENT = (50_000, 10, 10)


@contextmanager
def patient_collector() -> Iterator[None]:
    """Collect rarely inside the block; a program that set a slower pace of its own, or none,
    keeps it."""
    before = gc.get_threshold()
    if 0 < before[0] < _PATIENT[0]:
        gc.set_threshold(*_PATIENT)
    try:
        yield
    finally:
        gc.set_threshold(*before)


__all__ = ["patient_collector"]
