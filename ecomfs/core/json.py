"""Converts any value to plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ecomfs.types import is_missing


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
