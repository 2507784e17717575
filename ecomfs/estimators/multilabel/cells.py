"""Several labels in one cell: ``slow|broken``, ``["slow", "broken"]``, or a set in Python."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ecomfs.errors import InputError
from ecomfs.task import is_missing, label_text

SEPARATOR = "|"


def read_labels(cell: Any, where: str) -> tuple[str, ...]:
    """The labels of a cell, each once, in their order.

    Args:
        cell: a set, list or tuple of labels; or a text: labels between ``|``, or a JSON list, which
            is also how labels that contain ``|`` are written. A row with none of the labels is an
            empty set, or ``[]``: an empty cell might as well be a row that nobody labelled.
        where: the row, for the message.

    Raises:
        InputError: an empty cell, an empty label, or a JSON value that is no list of labels.

    >>> read_labels("slow | broken|slow", "row 1"), read_labels('["a|b"]', "row 2")
    (('slow', 'broken'), ('a|b',))
    >>> read_labels("[]", "row 3"), sorted(read_labels({"x", "y"}, "row 4"))
    ((), ['x', 'y'])
    """
    labels = [label_text(part, where) for part in given_labels(cell, where)]
    return tuple(dict.fromkeys(label for label in labels if label is not None))


def given_labels(cell: Any, where: str) -> list[Any]:
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
        parts = _json(str(cell), where)
    else:
        parts = str(cell).split(SEPARATOR)
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


def _json(text: str, where: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{where}: {text[:60]!r} is no JSON list: {error}",
            hint=f'write ["label", "label"], or label{SEPARATOR}label',
        ) from error
    return list(value)


__all__ = ["SEPARATOR", "given_labels", "read_labels", "write_labels"]
