"""Text in the header of a GGUF file, found without loading the model.

The ``gguf`` package reads whole vocabularies into Python objects, which takes half a minute for
200,000 tokens; here they are skipped.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path

from ecomfs.errors import ModelError

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def header_texts(file: Path, keys: Collection[str]) -> dict[str, str]:
    """Values of text keys; those that the file does not have are left out.

    Raises:
        ModelError: the header is cut short or of an unknown form.

    >>> header_texts(Path("model.gguf"), ["tokenizer.chat_template"])        # doctest: +SKIP
    {'tokenizer.chat_template': '{% for message in messages %}...'}
    """
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _read(data, set(keys))
    except (struct.error, ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"{file}: the header of this GGUF file cannot be read", hint="it may be cut short"
        ) from error


def _read(data: mmap.mmap, wanted: set[str]) -> dict[str, str]:
    if data[:4] != b"GGUF" or _U32.unpack_from(data, 4)[0] not in (2, 3):
        raise ValueError("not GGUF 2 or 3")
    (count,) = _U64.unpack_from(data, 16)
    found: dict[str, str] = {}
    at = 24
    for _ in range(count):
        key, at = _text(data, at)
        (kind,) = _U32.unpack_from(data, at)
        at += 4
        if kind == _STRING and key in wanted:
            found[key], at = _text(data, at)
            if len(found) == len(wanted):
                break
        else:
            at = _after(data, at, kind)
    return found


def _text(data: mmap.mmap, at: int) -> tuple[str, int]:
    (size,) = _U64.unpack_from(data, at)
    end = at + 8 + size
    if end > len(data):
        raise ValueError("cut short")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _after(data: mmap.mmap, at: int, kind: int) -> int:
    """The place after a value."""
    if kind == _STRING:
        return at + 8 + int(_U64.unpack_from(data, at)[0])
    if kind != _ARRAY:
        return at + _SIZES[kind]
    (inner,) = _U32.unpack_from(data, at)
    (count,) = _U64.unpack_from(data, at + 4)
    at += 12
    if inner in _SIZES:
        return at + _SIZES[inner] * int(count)
    for _ in range(count):
        at = _after(data, at, inner)
    return at


__all__ = ["header_texts"]
