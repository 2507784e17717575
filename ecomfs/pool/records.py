"""Data types of a pool's history, and the checks of an example before it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecomfs.errors import DuplicateIdError, PoolError
from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of an example.

    Attributes:
        example: the example in this state.
        added_in: first pool version with this state.
        retired_in: first later version without it; ``None`` while it is current.
        at: when it was added, ISO 8601 in UTC.
        note: the note given with the change.
    """

    example: Example
    added_in: int
    retired_in: int | None
    at: str
    note: str


@dataclass(frozen=True, slots=True)
class Change:
    """The change that made one version of a pool.

    Attributes:
        version: the version that the change made.
        at: time of the change, ISO 8601 in UTC.
        action: ``add``, ``relabel`` or ``retire``.
        examples: number of examples it changed.
        note: the note given with the change.

    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory([Example("a", {"text": "fine"}, "x")]) as pool:
    ...     [(change.version, change.action) for change in pool.changes()]
    [(1, 'add')]
    """

    version: int
    at: str
    action: str
    examples: int
    note: str


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counts of a pool at its current version.

    Attributes:
        name: the pool's name.
        version: its current version.
        examples: number of current examples.
        synthetic: number of them made by augmentation.
        retired: number of revisions that are no longer current.
        labels: label → number of current examples, most frequent first, then by name.
    """

    name: str
    version: int
    examples: int
    synthetic: int
    retired: int
    labels: Mapping[str, int]


def example_columns(example: Example) -> dict[str, Any]:
    """Check an example and return its database columns.

    Raises:
        PoolError: an empty id or label, fields that are not JSON, or a source without the mark
            ``synthetic``.
    """
    check_text(example.id, "an example's id")
    check_text(example.label, f"example {example.id!r}: the label")
    if (example.source_id or example.method) and not example.synthetic:
        raise PoolError(
            f"example {example.id!r} has a source or a method but is not synthetic",
            hint="mark it synthetic, or leave both empty",
        )
    for name in ("source_id", "method"):
        if "\0" in getattr(example, name):
            raise PoolError(f"example {example.id!r}: {name} contains a NUL character")
    return {
        "id": example.id,
        "fields": encode_fields(example.fields, example.id),
        "label": example.label,
        "synthetic": example.synthetic,
        "source_id": example.source_id or None,
        "method": example.method or None,
    }


def check_text(value: object, what: str) -> None:
    """Refuse what cannot be an id or a label."""
    if not isinstance(value, str) or not value.strip():
        raise PoolError(f"{what} is {value!r}", hint="it must be text, and not empty")
    if "\0" in value:
        raise PoolError(f"{what} contains a NUL character: {value!r}", hint="take it out")


def refuse_duplicate_ids(ids: Sequence[str]) -> None:
    """Refuse two examples with the same id."""
    seen: dict[str, int] = {}
    for number, id in enumerate(ids, start=1):
        if id in seen:
            raise DuplicateIdError(
                f"examples {seen[id]} and {number} have the same id {id!r}",
                hint="give every example its own id",
            )
        seen[id] = number


def shown_ids(ids: Iterable[str], most: int = 5) -> str:
    """Ids of examples for a message, at most ``most`` of them.

    >>> shown_ids(["a", "b"])
    "examples 'a', 'b'"
    """
    known = list(ids)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    noun = "example" if len(known) == 1 else "examples"
    return f"{noun} {', '.join(repr(id) for id in known[:most])}{more}"


def encode_fields(fields: Mapping[str, Any], id: str) -> str:
    """A row as JSON text with the order of its fields kept.

    NumPy scalars become plain numbers. A value that JSON cannot represent is a :class:`PoolError`
    that names the example and the field.

    >>> encode_fields({"text": "好用", "stars": 5}, "r1")
    '{"text": "好用", "stars": 5}'
    """
    for name in fields:
        if not isinstance(name, str):
            raise PoolError(f"example {id!r}: field name {name!r} is not text")
    try:
        text = _dump(dict(fields))
    except (TypeError, ValueError, RecursionError) as error:
        raise PoolError(
            f"example {id!r}: {_culprit(fields)} cannot be stored as JSON",
            hint="use text, numbers, lists or objects",
        ) from error
    try:
        text.encode()
    except UnicodeEncodeError:
        # Unpaired surrogates, which truncated UTF-16 exports have, must be escaped to be stored.
        text = json.dumps(json.loads(text))
    return text


def decode_fields(text: str) -> dict[str, Any]:
    """The row that :func:`encode_fields` wrote.

    >>> decode_fields('{"text": "好用"}')
    {'text': '好用'}
    """
    fields: dict[str, Any] = json.loads(text)
    return fields


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _culprit(fields: Mapping[str, Any]) -> str:
    for name, value in fields.items():
        try:
            _dump(value)
        except (TypeError, ValueError, RecursionError):
            return f"field {name!r} ({type(value).__name__})"
    return "its fields"
