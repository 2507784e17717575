"""JSON Lines (one object per line) and JSON files that hold one array of objects."""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ecomfs.errors import EmptyInputError, InputError
from ecomfs.io.encoding import Line, read_lines
from ecomfs.io.files import choose_encoding_of, open_binary, stored_size
from ecomfs.io.rows import Dialect, RawRow, cell_text

HEADER_RECORDS = 1000
"""Objects whose keys make the header; a key that appears only later is kept as an extra cell."""
MAX_ARRAY_BYTES = 1 << 28
"""Largest JSON array; unlike lines, an array must be held in memory whole."""


class JsonLinesSource:
    """Every line one JSON object; a line that is not one is a bad row.

    Raises:
        EmptyInputError: no line holds an object with a key.
    """

    dialect = Dialect(delimiter="")

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self._path = path
        with open_binary(path) as stream:
            self._encoding, _ = choose_encoding_of(path, stream, encoding)
        keys: dict[str, None] = {}
        for _, parsed, _ in islice(self._objects(), HEADER_RECORDS):
            if isinstance(parsed, dict):
                keys |= dict.fromkeys(parsed)
        if not keys:
            hint = "expected one JSON object per line"
            raise EmptyInputError(f"{path.name}: no JSON object in it", hint=hint)
        self.header = tuple(keys)

    @property
    def encoding(self) -> str:
        """Python codec name."""
        return self._encoding.name

    @property
    def note(self) -> str:
        """How the encoding was found, where that needs a check by the user."""
        return self._encoding.note

    @property
    def size(self) -> int | None:
        """Bytes; ``None`` for compressed files."""
        return stored_size(self._path)

    def records(self) -> Generator[RawRow]:
        """The objects in order."""
        for number, parsed, line in self._objects():
            if isinstance(parsed, str):
                raw = [line.text.rstrip("\r\n")]
                yield RawRow(number, raw, line.error or parsed, line.note, line.end)
            else:
                yield _object_row(number, parsed, self.header, line)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | str, Line]]:
        """(line number, object or what is wrong, line); blank lines are skipped."""
        with open_binary(self._path) as stream:
            for number, line in enumerate(read_lines(stream, self._encoding), 1):
                if line.text.strip():
                    yield number, _parsed(line.text.rstrip()), line


class JsonArraySource:
    """A file with one JSON array of objects.

    Raises:
        InputError: it is not such an array, or too large to be held in memory.
        EmptyInputError: an empty array.
    """

    dialect = Dialect(delimiter="")

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        with open_binary(path) as stream:
            found, _ = choose_encoding_of(path, stream, encoding)
        with open_binary(path) as stream:
            data = stream.read(MAX_ARRAY_BYTES + 1)
        if len(data) > MAX_ARRAY_BYTES:
            hint = "write it as JSON Lines, one object per line"
            raise InputError(f"{path.name}: a JSON array of more than 256 MB", hint=hint)
        lines = read_lines(io.BytesIO(data), found)
        try:
            rows = json.loads("".join(line.text for line in lines), object_pairs_hook=_object)
        except _RepeatedKeyError as problem:
            raise InputError(
                f"{path.name}: an object has {problem} twice", hint="give each key once"
            ) from problem
        except json.JSONDecodeError as problem:
            at = f"line {problem.lineno}, column {problem.colno}"
            raise InputError(f"{path.name}: not JSON at {at}: {problem.msg}") from problem
        if not isinstance(rows, list):
            hint = "expected an array of objects, or JSON Lines named .jsonl"
            raise InputError(f"{path.name}: the JSON is not an array", hint=hint)
        self.encoding = found.name
        self.note = found.note
        self.size = len(rows)
        self._rows = rows
        keys = dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row)
        if not keys:
            raise EmptyInputError(f"{path.name}: no JSON object in it")
        self.header = tuple(keys)

    def records(self) -> Generator[RawRow]:
        """The objects in order; ``line`` is the position in the array, counted from 1."""
        for number, row in enumerate(self._rows, 1):
            if isinstance(row, dict):
                yield _object_row(number, row, self.header, Line("", end=number))
            else:
                yield RawRow(number, [cell_text(row)], "not a JSON object", end=number)


def is_array(path: Path) -> bool:
    """Whether a JSON file begins like an array; many ``.json`` files hold JSON Lines."""
    with open_binary(path) as stream:
        head = stream.read(64)
    return head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"[")


class _RepeatedKeyError(Exception):
    """An object has one key twice: of two columns of one name, neither is the right one."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(repr(next(key for key in keys if keys.count(key) > 1)))
    return found


def _parsed(text: str) -> dict[str, Any] | str:
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except _RepeatedKeyError as problem:
        return f"the object has {problem} twice"
    except (json.JSONDecodeError, RecursionError) as problem:
        at = f" at column {problem.colno}" if isinstance(problem, json.JSONDecodeError) else ""
        return f"not JSON{at}"
    return value if isinstance(value, dict) else "not a JSON object"


def _object_row(number: int, row: dict[str, Any], header: tuple[str, ...], line: Line) -> RawRow:
    cells = [cell_text(row.get(name)) for name in header]
    beyond = {key: value for key, value in row.items() if key not in header}
    extra = (cell_text(beyond),) if beyond else ()
    note = line.note or ("keys beyond the header: " + ", ".join(beyond) if beyond else "")
    return RawRow(number, cells, line.error, note, line.end, extra)
