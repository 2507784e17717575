"""Converts label values to text by one rule, from a list, a DataFrame, a cell of a file or JSON.

If two inputs converted the same label differently, every answer would count as wrong, and no metric
would show why. So all code that reads labels calls :func:`label_text`.
"""

from __future__ import annotations

import enum
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from ecomfs.errors import InputError
from ecomfs.types import InfiniteText, NestedText

# Numbers in the form of Python, NumPy and pandas. "007" is a code and not a number, and so is
# "1e3": these libraries write exponents with a sign.
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]+)?(e[+-][0-9]{1,3})?")
_NAN = frozenset({"nan", "-nan", "<na>"})
_INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})


def label_text(value: Any, where: str = "label") -> str | None:
    """The text of a label, as used in pools, files and prompts.

    Parameters
    ----------
    value : Any
        A label: text, a number, a boolean, a member of an enumeration (its value is used), or a
        missing value.
    where : str
        Place of the label in messages, such as ``"row 7, column 'label'"``.

    Returns
    -------
    str or None
        Text without outer space. Whole floats become integers, because pandas reads a column of
        integers with missing values as floats. ``None`` if the label is missing: ``None``, NaN,
        NaT, ``pandas.NA`` or blank text.

    Raises
    ------
    InputError
        The value is not one label: bytes, a list, a mapping, an array, an infinite number, or an
        object without a text of its own.

    Examples
    --------
    >>> [label_text(v) for v in ("好评", 1, 1.0, 0.5, True, None, float("nan"), " ")]
    ['好评', '1', '1', '0.5', 'true', None, None, None]
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, InfiniteText):
        raise _infinite(value, where)
    if isinstance(value, NestedText):
        raise InputError(
            f"{where}: {value!r:.60} is a list or an object, not one label",
            hint="give one label per row",
        )
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
        # A NumPy scalar as a Python one; a float of fewer than 64 bits by its digits.
        short = value.dtype.kind == "f" and value.itemsize < 8
        value = float(str(value)) if short else value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, date):
        return value.isoformat()
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        own: object = type(value).__str__
        if own is object.__str__:  # its address only, not a text
            kind = type(value).__name__
            raise InputError(
                f"{where}: {value!r:.60} is of type {kind}, not one label", hint="give its text"
            ) from None
        return str(value).strip() or None
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise _infinite(value, where)
    return str(int(number)) if number.is_integer() else repr(number)


def label_number(text: str) -> Decimal | None:
    """The label as a number; ``None`` when it is not a plain number.

    Parameters
    ----------
    text : str
        A label, as :func:`label_text` gives it.

    Returns
    -------
    decimal.Decimal or None
        The exact number: ``1`` and ``1.0`` are equal.

    Examples
    --------
    >>> label_number("1.0") == label_number("1"), label_number("10") == label_number("1.0")
    (True, False)
    >>> [label_number(text) for text in ("10%", "1/2", "007", "1e3", "nan", "-")]
    [None, None, None, None, None, None]
    """
    found = _NUMBER.fullmatch(text)
    return Decimal(text) if found and (found[1] or found[2]) else None


def column_labels(
    cells: Sequence[Any], where: Sequence[str] | None = None, column: str = "label"
) -> list[str | None]:
    """The labels of a column of a file: :func:`label_text` of every cell.

    The text ``nan`` is a label like any other, unless all other labels of the column are numbers:
    then it is a missing number, and ``inf`` an infinite one, written by some program.

    Parameters
    ----------
    cells : sequence
        One value per row.
    where : sequence of str, optional
        Name of each row in messages, such as ``"pool.csv, line 3"``.
    column : str
        Name of the column in messages.

    Returns
    -------
    list of (str or None)
        One label per row; ``None`` if it is missing.

    Raises
    ------
    InputError
        A value is not one label: see :func:`label_text`.

    Examples
    --------
    >>> column_labels(["1.0", "nan", "0.0"]), column_labels(["nan", "roti"])
    (['1.0', None, '0.0'], ['nan', 'roti'])
    """
    places = [f"{w}, column {column!r}" for w in where or [f"row {n}" for n in range(len(cells))]]
    found = [label_text(cell, place) for cell, place in zip(cells, places, strict=True)]
    words = [i for i, label in enumerate(found) if label and label.casefold() in _NAN | _INFINITE]
    if not words or not _all_numbers(found[i] for i in range(len(found)) if i not in set(words)):
        return found
    for i in words:
        if str(found[i]).casefold() in _INFINITE:
            raise _infinite(found[i], places[i])
        found[i] = None
    return found


def is_missing_number(text: str, labels: Iterable[str]) -> bool:
    """Whether a true label is a missing number: its text is ``nan``, and all labels are numbers.

    Examples
    --------
    >>> is_missing_number("nan", ["0", "1"]), is_missing_number("nan", ["naan", "roti"])
    (True, False)
    """
    return text.casefold() in _NAN and _all_numbers(labels)


def label_order(labels: Iterable[str]) -> list[str]:
    """Sort labels in NumPy's order: numbers by value, other text character by character.

    Parameters
    ----------
    labels : iterable of str
        Labels as text.

    Returns
    -------
    list of str
        Sorted as numbers if all labels are numbers, else as text.

    Examples
    --------
    >>> label_order(["10", "9", "-1"]), label_order(["10", "9", "x"])
    (['-1', '9', '10'], ['10', '9', 'x'])
    """
    plain = sorted(labels)
    numbers_ = [label_number(label) for label in plain]
    valued = [(n, label) for n, label in zip(numbers_, plain, strict=True) if n is not None]
    return [label for _, label in sorted(valued)] if len(valued) == len(plain) else plain


def _all_numbers(labels: Iterable[str | None]) -> bool:
    given = [label for label in labels if label]
    return bool(given) and all(label_number(label) is not None for label in given)


def _infinite(value: Any, where: str) -> InputError:
    return InputError(
        f"{where}: {value!r} is an infinite number, not a label",
        hint="give a finite number, or text",
    )
