"""Any value as plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def is_missing(value: Any) -> bool:
    """Whether a value stands for "no value": ``None``, NaN, NaT or ``pandas.NA``.

    >>> [is_missing(v) for v in (None, float("nan"), "", 0)]
    [True, True, False, False]
    """
    if value is None or type(value) is str:
        return value is None
    equal = value == value  # NaN and NaT differ from themselves; pandas.NA compares to NA
    return type(equal).__name__ == "NAType" or equal is False or str(equal) == "False"


def plain(value: Any, *, fallback: Callable[[Any], Any] = str) -> Any:
    """A value as ``None``, ``bool``, ``int``, ``float``, ``str``, ``list`` and ``dict``.

    NumPy scalars and arrays become numbers and lists, tuples become lists, missing values
    become ``None``, infinity becomes its text, and keys become text.

    Args:
        value: any value.
        fallback: converts what JSON cannot represent; default: its text.

    >>> import numpy as np
    >>> plain({"a": (1, float("nan")), 2: np.arange(2), "c": 1j, "d": float("inf")})
    {'a': [1, None], '2': [0, 1], 'c': '1j', 'd': 'inf'}
    """
    if isinstance(value, str | bool | int) and type(value).__module__ != "numpy":
        return value
    if callable(to_list := getattr(value, "tolist", None)):  # NumPy
        value = to_list()
    if isinstance(value, Mapping):
        return {str(key): plain(inner, fallback=fallback) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, fallback=fallback) for inner in value]
    if is_missing(value):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, str | bool | int) else fallback(value)
