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
        cell: a set, list or tuple of labels; or a text: labels between ``|``, or a JSON list, which
            is also how labels that contain ``|`` are written. A row with none of the labels is an
            empty set, or ``[]``: an empty cell might as well be a row that nobody labelled.
        where: the row, for the message.
        separator: what stands between the labels of a text.

    Raises:
        InputError: an empty cell, an empty label, or a JSON value that is no list of labels.

    >>> read_labels("slow | broken|slow", "row 1"), read_labels('["a|b"]', "row 2")
    (('slow', 'broken'), ('a|b',))
    >>> read_labels("[]", "row 3"), sorted(read_labels({"x", "y"}, "row 4"))
    ((), ['x', 'y'])
    """
    labels = [label_text(part, where) for part in given_labels(cell, where, separator)]
    return tuple(dict.fromkeys(label for label in labels if label is not None))


def given_labels(cell: Any, where: str, separator: str = SEPARATOR) -> list[Any]:
    """The labels of a cell as they were given; those of a text are texts.

    Raises:
        InputError: see :func:`read_labels`.

    >>> given_labels({2, 1}, "row 1"), given_labels("[2, 1]", "row 2")
    ([1, 2], [2, 1])
    """
    parts: list[Any]
    if isinstance(cell, Mapping | bytes):
        raise InputError(f"{where}: {cell!r} is no set of labels", hint="give a list or a set")
    if isinstance(cell, Iterable) and not isinstance(cell, str):
        parts = sorted(cell, key=str) if isinstance(cell, set | frozenset) else list(cell)
    elif is_missing(cell) or not str(cell).strip():
        raise InputError(
            f"{where} has no label", hint="write [] for a row that has none of the labels"
        )
    elif str(cell).lstrip().startswith("["):
        parts = _json(str(cell), where, separator)
    else:
        parts = str(cell).split(separator)
    for part in parts:
        if isinstance(part, list | dict | set | tuple) or label_text(part, where) is None:
            raise InputError(f"{where}: {part!r} is no label", hint="leave it out, or correct it")
    return parts


def write_labels(labels: Iterable[str]) -> str:
    """The labels as the text of one cell, in their order, which :func:`read_labels` reads again.

    >>> write_labels(["slow", "broken"])
    '["slow", "broken"]'
    """
    return json.dumps(list(labels), ensure_ascii=False)


def one_cell(labels: Iterable[str], separator: str) -> str:
    """The labels as a person writes them in a cell of a table; :func:`read_labels` reads them
    again.

    >>> one_cell(["slow", "broken"], "|"), one_cell([], "|"), one_cell(["a|b", "c"], "|")
    ('slow|broken', '[]', '["a|b", "c"]')
    """
    names = list(labels)
    text = separator.join(names)
    if not names or text.lstrip().startswith("[") or any(separator in name for name in names):
        return write_labels(names)
    return text


def composite_separator(labels: Iterable[str]) -> str | None:
    """What stands between the labels of cells that seem to hold several: ``|`` or ``;`` where the
    labels of one cell come back in other cells; ``None``: they seem to be one label each.

    >>> composite_separator(["late", "broken", "late|broken"])
    '|'
    >>> composite_separator(["Bath | Body", "Home", "Toys"]) is None
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


def tree_separator(labels: Iterable[str]) -> str | None:
    """What stands between parent and child of labels that seem to be a taxonomy, such as
    ``Home > Lamps``: all have it, and some parents have several children; else ``None``.

    >>> tree_separator(["Home > Lamps", "Home > Chairs", "Toys > Games"])
    ' > '
    >>> tree_separator(["Home > Lamps", "Toys"]) is None
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
    except ValueError as error:
        raise InputError(
            f"{where}: {text[:60]!r} is no JSON list: {error}",
            hint=f'write ["label", "label"], or label{separator}label',
        ) from error
    return list(value)


__all__ = [
    "SEPARATOR",
    "composite_separator",
    "given_labels",
    "one_cell",
    "read_labels",
    "tree_separator",
    "write_labels",
]
