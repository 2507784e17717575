"""An example's fields as JSON text and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ecomfs.errors import PoolError


def encode_fields(fields: Mapping[str, Any], id: str) -> str:
    """A row as JSON text, keeping the order of its fields.

    NumPy scalars become plain numbers. Raises :class:`PoolError`, naming the example and the
    field, for a value JSON has no word for.

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
        # Half a surrogate pair, as truncated UTF-16 exports have: escaped, it survives storage.
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
