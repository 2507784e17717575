"""Several labels in one cell: ``slow|broken``, ``["slow", "broken"]``, or a set in Python."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ecomfs.errors import InputError
from ecomfs.task.label_value import label_text
from ecomfs.types import is_missing

SEPARATOR = "|"


def read_labels(cell: Any, where: str, separator: str = SEPARATOR) -> tuple[str, ...]:
    """The labels of a cell, each once, in their order.

    Args:
        cell: a set, list or tuple of labels; or text with labels between ``|``; or a JSON list,
            also for labels that contain ``|``. A row without labels has an empty set or ``[]``; an
            empty cell could also mean that the row is not labelled.
        where: the row, for messages.
        separator: text between labels.

    Raises:
        InputError: an empty cell, an empty label, or a JSON value that is not a list of labels.

    >>> read_labels("slow | broken|slow", "row 1"), read_labels('["a|b"]', "row 2")
    (('slow', 'broken'), ('a|b',))
    >>> read_labels("[]", "row 3"), sorted(read_labels({"x", "y"}, "row 4"))
    ((), ['x', 'y'])
    """
    labels = [label_text(part, where) for part in raw_labels(cell, where, separator)]
    return tuple(dict.fromkeys(label for label in labels if label is not None))


def raw_labels(cell: Any, where: str, separator: str = SEPARATOR) -> list[Any]:
    """The labels of a cell in their own types; labels in a text are texts.

    Raises:
        InputError: see :func:`read_labels`.

    >>> raw_labels({2, 1}, "row 1"), raw_labels("[2, 1]", "row 2")
    ([1, 2], [2, 1])
    """
    parts: list[Any]
    if isinstance(cell, Mapping | bytes):
        raise InputError(f"{where}: {cell!r} is not a set of labels", hint="give a list or a set")
    if isinstance(cell, Iterable) and not isinstance(cell, str):
        parts = sorted(cell, key=str) if isinstance(cell, set | frozenset) else list(cell)
    elif is_missing(cell) or not str(cell).strip():
        raise InputError(
            f"{where} has no label", hint="write [] for a row without any of the labels"
        )
    elif str(cell).lstrip().startswith("["):
        parts = _json(str(cell), where, separator)
    else:
        parts = str(cell).split(separator)
    for part in parts:
        if isinstance(part, list | dict | set | tuple) or label_text(part, where) is None:
            raise InputError(f"{where}: {part!r} is not a label", hint="remove or correct it")
    return parts


def write_labels(labels: Iterable[str]) -> str:
    """The labels as a JSON list in one cell, in their order; :func:`read_labels` reads it back.

    >>> write_labels(["slow", "broken"])
    '["slow", "broken"]'
    """
    return json.dumps(list(labels), ensure_ascii=False)


def join_labels(labels: Iterable[str], separator: str) -> str:
    """The labels joined by a separator in one cell, or as a JSON list if one of them contains it;
    :func:`read_labels` reads it back.

    >>> join_labels(["slow", "broken"], "|"), join_labels([], "|"), join_labels(["a|b", "c"], "|")
    ('slow|broken', '[]', '["a|b", "c"]')
    """
    names = list(labels)
    text = separator.join(names)
    if not names or text.lstrip().startswith("[") or any(separator in name for name in names):
        return write_labels(names)
    return text


def guess_label_separator(labels: Iterable[str]) -> str | None:
    """The separator of cells that seem to hold several labels: ``|`` or ``;``, if the labels of one
    cell come back in other cells; ``None`` if the cells seem to hold one label each.

    >>> guess_label_separator(["late", "broken", "late|broken"])
    '|'
    >>> guess_label_separator(["Bath | Body", "Home", "Toys"]) is None
    True
    """
    distinct = list(dict.fromkeys(label.strip() for label in labels))
    for separator in ("|", ";"):
        split = [
            [part.strip() for part in label.split(separator)]
            for label in distinct
            if not label.startswith("[")
        ]
        several = [parts for parts in split if len(parts) > 1 and all(parts)]
        cells = Counter(part for parts in split for part in dict.fromkeys(parts))
        parts = {part for own in several for part in own}
        again = sum(cells[part] > 1 for part in parts)
        if several and 2 * again >= len(parts):
            return separator
    return None


def guess_hierarchy_separator(labels: Iterable[str]) -> str | None:
    """The separator between parent and child of labels that seem to be a taxonomy, such as
    ``Home > Lamps``: all labels have it, and some parents have several children; else ``None``.

    >>> guess_hierarchy_separator(["Home > Lamps", "Home > Chairs", "Toys > Games"])
    ' > '
    >>> guess_hierarchy_separator(["Home > Lamps", "Toys"]) is None
    True
    """
    distinct = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    for mark in (">", "›", "»"):
        split = [[part.strip() for part in label.split(mark)] for label in distinct]
        parents = Counter(parts[0] for parts in split)
        whole = all(len(parts) > 1 and all(parts) for parts in split)
        if split and whole and max(parents.values()) > 1:
            return f" {mark} "
    return None


def _json(text: str, where: str, separator: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: {text[:60]!r} is not a JSON list: {error}",
            hint=f'write ["label", "label"], or label{separator}label',
        ) from error
    return list(value)


__all__ = [
    "SEPARATOR",
    "guess_hierarchy_separator",
    "guess_label_separator",
    "join_labels",
    "raw_labels",
    "read_labels",
    "write_labels",
]
