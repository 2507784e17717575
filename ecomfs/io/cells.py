"""Values of typed formats as cell text, so that every format gives the same rows."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from ecomfs.core.json import is_missing, plain
from ecomfs.types import InfiniteText


def cell_text(value: Any) -> str:
    """Text of one value.

    Missing values (``None``, NaN, NaT) are the empty cell, and ``null`` inside lists and objects,
    which are JSON; whole floats lose their ``.0`` (Excel and pandas add it to integer columns);
    dates are ISO 8601, without a time when it is midnight.

    >>> [cell_text(v) for v in ("好", None, True, 3, 3.0, 0.25, ["a", {"b": "好"}])]
    ['好', '', 'true', '3', '3', '0.25', '["a", {"b": "好"}]']
    >>> cell_text(float("nan")), cell_text([1.0, float("nan")])
    ('', '[1.0, null]')
    >>> cell_text(datetime(2024, 5, 1)), cell_text(datetime(2024, 5, 1, 9, 30))
    ('2024-05-01', '2024-05-01 09:30:00')
    """
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and math.isinf(value):
        return InfiniteText(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(plain(value, fallback=cell_text), ensure_ascii=False)
    if isinstance(value, datetime):
        midnight = value.timetz() == time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", errors="backslashreplace")
    return str(value)
