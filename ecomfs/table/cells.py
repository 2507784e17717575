"""Values of typed formats as cell text, so that every format gives the same rows."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from typing import Any


def cell_text(value: Any) -> str:
    """Text of one value.

    ``None`` is the empty cell; lists and objects are JSON; whole floats lose their ``.0`` (Excel
    and pandas add it to integer columns); dates are ISO 8601, without a time when it is midnight.

    >>> [cell_text(v) for v in ("好", None, True, 3, 3.0, 0.25, ["a", {"b": "好"}])]
    ['好', '', 'true', '3', '3', '0.25', '["a", {"b": "好"}]']
    >>> cell_text(datetime(2024, 5, 1)), cell_text(datetime(2024, 5, 1, 9, 30))
    ('2024-05-01', '2024-05-01 09:30:00')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=cell_text)
    if isinstance(value, datetime):
        midnight = value.timetz() == time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", errors="backslashreplace")
    return str(value)
