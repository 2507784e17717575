"""One rule for labels, whatever they come in: a list, a DataFrame, a cell of a file, JSON.

Two entries that read the same label differently are a fault that no metric shows: the labels
become others, or strings, and every answer counts as wrong. So every entry calls
:func:`label_text`.
"""

from __future__ import annotations

import enum
import math
import numbers
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from ecomfs.errors import InputError


def label_text(value: Any, where: str = "label") -> str | None:
    """The text of a label, as pools, files and prompts hold it.

    Parameters
    ----------
    value : Any
        A label: text, a number, a boolean, a member of an enumeration (its value counts), or a
        missing value.
    where : str
        What the error names, such as ``"row 7, column 'label'"``.

    Returns
    -------
    str or None
        Text is stripped of outer space. Whole floats are their integer, so that a column of
        integers with a gap, which pandas reads as floats, keeps its labels. ``None`` when the
        label is missing: ``None``, NaN, NaT, ``pandas.NA`` or blank text.

    Raises
    ------
    InputError
        The value is not one label: bytes, a list, a mapping, an array, an infinite number.

    Examples
    --------
    >>> [label_text(v) for v in ("好评", 1, 1.0, 0.5, True, None, float("nan"), " ")]
    ['好评', '1', '1', '0.5', 'true', None, None, None]
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return str(value).strip() or None
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, bytes | bytearray | Mapping) or (
        isinstance(value, Iterable) and getattr(value, "shape", None) != ()
    ):
        kind = type(value).__name__
        how = "decode it" if kind in {"bytes", "bytearray"} else "give one label per row"
        raise InputError(f"{where}: {value!r:.60} is of type {kind}, not one label", hint=how)
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "item"):
        value = value.item()  # a NumPy scalar as a Python one
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, date):
        return value.isoformat()
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value).strip() or None
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise InputError(f"{where}: {value!r} is no label", hint="give a finite number, or text")
    return str(int(number)) if number.is_integer() else repr(number)


__all__ = ["label_text"]
