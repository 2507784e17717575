"""Predictions as bytes for the journal, and back. No pickle: a file must not run code."""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import MISSING, fields
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json, to_json

from ecomfs.errors import JournalError
from ecomfs.types import Prediction, Row, Status, TemplateRef

KEY_BYTES = 16

# json.dumps makes a new encoder with every call that has options.
_as_compact_text = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

_APART = frozenset({"id", "probabilities", "template", "status", "stages"})
_PLAIN = tuple(
    (f.name, f.default if f.default is not MISSING else None)
    for f in fields(Prediction)
    if f.name not in _APART
)
_STATUS = {str(status): status for status in Status}


def row_key(values: Row) -> bytes:
    """What identical rows share: a hash of the fields, which alone decide the answer.

    >>> row_key({"text": "fits"}) == row_key({"text": "fits"}) != row_key({"text": "fits "})
    True
    """
    try:
        text = to_json(values, inf_nan_mode="constants", fallback=str)
    except ValueError:  # half a surrogate pair
        text = json.dumps(values, default=str).encode()
    return blake2b(text, digest_size=KEY_BYTES).digest()


def pack(
    prediction: Prediction, names: Sequence[str], *, stages: bool = False
) -> tuple[str, bytes]:
    """A prediction without its row's id, as JSON and float64 probabilities in the order of
    ``names``.

    Args:
        stages: keep the distributions after each step too; they are many numbers.

    >>> p = Prediction("r1", "yes", {"no": 0.25, "yes": 0.75}, prompt_tokens=9)
    >>> text, numbers = pack(p, ["no", "yes"])
    >>> text
    '["ok",null,[],{"label":"yes","prompt_tokens":9}]'
    >>> unpack(text, numbers, ["no", "yes"], "r1") == p
    True
    """
    template = prediction.template
    rest: dict[str, Any] = {}
    for name, default in _PLAIN:
        value = getattr(prediction, name)
        if value is not default and value != default:
            rest[name] = value
    found = prediction.probabilities
    numbers = array("d", [found[name] for name in names] if found else [])
    kept = [name for name in prediction.stages if found] if stages else []
    for stage in kept:
        numbers.extend(prediction.stages[stage])
    if sys.byteorder == "big":
        numbers.byteswap()
    head = [str(prediction.status), [template.name, template.sha] if template else None, kept]
    return _as_compact_text([*head, rest]), numbers.tobytes()


def unpack(text: str, numbers: bytes, names: Sequence[str], id_: str) -> Prediction:
    """The prediction for a row of this id.

    Raises:
        JournalError: these are not the bytes of a prediction over these labels.
    """
    try:
        status, template, stages, rest = from_json(text)
        values = array("d", numbers)
        if sys.byteorder == "big":
            values.byteswap()
        size = len(names)
        if len(values) not in (0, size * (1 + len(stages))):
            raise ValueError(f"{len(values)} numbers for {size} labels")
        for name, value in rest.items():
            if isinstance(value, list):
                rest[name] = tuple(value)
        rest.setdefault("label", None)
        return Prediction(
            id=id_,
            probabilities=dict(zip(names, values, strict=False)),
            status=_STATUS[status],
            template=TemplateRef(*template) if template else None,
            stages={
                stage: tuple(values[n * size : (n + 1) * size]) for n, stage in enumerate(stages, 1)
            },
            **rest,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise JournalError(
            f"the journal holds an answer that cannot be read: {error}",
            hint="--restart starts the run anew",
        ) from error


def checksum(position: int, key: bytes, text: str, numbers: bytes) -> int:
    """CRC-32 of an answer and its place: SQLite does not notice a flipped bit in a value."""
    return zlib.crc32(b"%d" % position + key + text.encode() + numbers)
