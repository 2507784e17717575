"""Label values of any type as the text of the label.

The same rule as ``ecomfs.task.label_value``, repeated because the harness does not import ecomfs; a
test compares the two.
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

from ecomfs_eval.errors import DataError

_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]+)?(e[+-][0-9]{1,3})?")
_WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_NAN = frozenset({"nan", "-nan", "<na>"})
_INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})


def label_text(value: Any, where: str = "label") -> str:
    """The text of a label; empty when it is missing (``None``, NaN, NaT, blank text).

    Raises:
        DataError: the value is not one label: bytes, a list, an infinite number.

    >>> [label_text(v) for v in ("好评", 1, 1.0, 0.5, True, None, float("nan"))]
    ['好评', '1', '1', '0.5', 'true', '', '']
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return str(value).strip()
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return ""
    if isinstance(value, bytes | bytearray | Mapping) or (
        isinstance(value, Iterable) and getattr(value, "shape", None) != ()
    ):
        kind = type(value).__name__
        raise DataError(f"{where}: {value!r:.60} is of type {kind}", hint="give one label per row")
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "item"):
        # Floats of fewer bits than Python's are converted by their printed digits.
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
        if own is object.__str__:  # an address or its parts, no text of its own
            kind = type(value).__name__
            raise DataError(
                f"{where}: {value!r:.60} is of type {kind}", hint="give its text"
            ) from None
        return str(value).strip()
    if math.isnan(number):
        return ""
    if math.isinf(number):
        raise _infinite(value, where)
    return str(int(number)) if number.is_integer() else repr(number)


def label_number(text: str) -> Decimal | None:
    """The label as a number; ``None`` when its text is not a plain number.

    >>> label_number("1.0") == label_number("1"), label_number("10%"), label_number("007")
    (True, None, None)
    """
    found = _NUMBER.fullmatch(text)
    return Decimal(text) if found and (found[1] or found[2]) else None


def label_order(labels: Iterable[str]) -> list[str]:
    """Labels in NumPy's order: numbers by value, other text character by character.

    >>> label_order(["10", "9", "-1"]), label_order(["10", "9", "x"])
    (['-1', '9', '10'], ['10', '9', 'x'])
    """
    plain = sorted(labels)
    values = [label_number(label) for label in plain]
    valued = [(n, label) for n, label in zip(values, plain, strict=True) if n is not None]
    return [label for _, label in sorted(valued)] if len(valued) == len(plain) else plain


def column_labels(cells: Sequence[Any], where: Sequence[str]) -> list[str]:
    """The labels of a column, empty where one is missing. If all other cells are numbers, the text
    ``nan`` is also a missing label.

    Args:
        where: the name of each cell in messages.

    Raises:
        DataError: see :func:`label_text`.

    >>> column_labels(["1.0", "nan"], ["row 1", "row 2"])
    ['1.0', '']
    """
    found = [label_text(cell, place) for cell, place in zip(cells, where, strict=True)]
    odd = {i for i, label in enumerate(found) if label.casefold() in _NAN | _INFINITE}
    others = [label for i, label in enumerate(found) if label and i not in odd]
    if not odd or not others or any(label_number(label) is None for label in others):
        return found
    for i in sorted(odd):
        if found[i].casefold() in _INFINITE:
            raise _infinite(found[i], where[i])
        found[i] = ""
    return found


def integer_spellings(*spaces: Iterable[str]) -> dict[str, str]:
    """Spelling → label: ``1.0``, into which pandas turns 1 in a column with a gap, is ``1``.

    Empty if one of the label spaces has both spellings as different labels.

    >>> integer_spellings(["1.0", "0.0", "x"], ["1"]), integer_spellings(["1", "1.0"])
    ({'1.0': '1', '0.0': '0'}, {})
    """
    found: dict[str, str] = {}
    for space in map(set, spaces):
        for label in space:
            if spelt := _WHOLE_FLOAT.fullmatch(label):
                if spelt[1] in space:
                    return {}
                found[label] = "0" if spelt[1] == "-0" else spelt[1]
    return dict(sorted(found.items(), reverse=True))


def aligned(labels: Sequence[str], known: Iterable[str]) -> list[str]:
    """The labels in the spelling of ``known``: matched by exact text, else by number if exactly one
    known label is that number, else ignoring case if each side has one spelling. Others are not
    changed. A ``nan`` among numbers is missing.

    >>> aligned(["1.0", "1", "10", "nan", ""], ["0", "1"])
    ['1', '1', '10', '', '']
    >>> aligned(["true", "false"], ["False", "True"]), aligned(["apple", "Apple"], ["Apple"])
    (['True', 'False'], ['apple', 'Apple'])
    """
    space = list(dict.fromkeys(known))
    owners: dict[Decimal, list[str]] = {}
    for label in space:
        if (number := label_number(label)) is not None:
            owners.setdefault(number, []).append(label)
    only_numbers = bool(space) and sum(map(len, owners.values())) == len(space)
    exact = set(space)
    by_case: dict[str, set[str]] = {}
    for label in (*space, *labels):
        by_case.setdefault(label.casefold(), set()).add(label)

    def one(label: str) -> str:
        if label in exact or not label:
            return label
        number = label_number(label)
        if number is not None:
            same = owners.get(number, [])
            return same[0] if len(same) == 1 else label
        if only_numbers and label.casefold() in _NAN:
            return ""
        pair = by_case[label.casefold()]
        mine = pair & exact if len(pair) == 2 else ()
        # Two spellings within ``labels`` are two labels, as in ``known``.
        other = mine and not mine & set(labels)
        return next(iter(mine)) if other else label

    spelt = {label: one(label) for label in set(labels)}
    return [spelt[label] for label in labels]


def _infinite(value: Any, where: str) -> DataError:
    return DataError(
        f"{where}: {str(value)!r} is an infinite number, not a label",
        hint="give a finite number, or text",
    )
