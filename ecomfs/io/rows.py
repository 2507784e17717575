"""Data types of tables in any format: rows, chunks, cells as text, and the base class of sources.

Rows are named tuples: there are millions of them, and creating a frozen dataclass takes several
times as long.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from ecomfs.types import InfiniteText, NestedText, is_missing


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a delimited file is written.

    Attributes:
        delimiter: one of ``,`` ``;`` tab ``|``, a rarer one such as ``^``, or the caller's; empty
            for formats without delimiters.
        backslash: quotes inside quoted cells are written ``\\"`` (Spark, MySQL) and not ``""``.
        preamble: lines before the header (the ``sep=;`` line of spreadsheets).
        spaced: spaces after a delimiter are not part of the next cell (``1, "text"``).
    """

    delimiter: str = ","
    backslash: bool = False
    preamble: int = 0
    spaced: bool = False


class TableRow(NamedTuple):
    """One row.

    Attributes
    ----------
    line : int
        Line of the file where the row begins, counted from 1 (number of the record in formats
        without lines).
    cells : Mapping[str, str]
        Column name → text, for every column of the header.
    error : str
        Why the row cannot be used; empty when it can. The cells hold what could be read.
    note : str
        How the row was read, if not as usual (in another encoding than the file); else empty.
    extra : tuple[str, ...]
        Cells beyond the last column of the header.
    fits : bool
        Whether the row has a cell for every column. In a row with more or fewer cells, a cell may
        be that of another column.

    Examples
    --------
    >>> TableRow(3, {"text": "fine"}).cells["text"]
    'fine'
    """

    line: int
    cells: Mapping[str, str]
    error: str = ""
    note: str = ""
    extra: tuple[str, ...] = ()
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row begins in a file.

    Attributes
    ----------
    row : int
        Its position among all rows, counted from 0.
    byte : int
        Offset in the file, counted from 0.
    line : int
        Line of the file, counted from 1.

    Examples
    --------
    >>> Place(row=1000, byte=52_311, line=1004).row
    1000
    """

    row: int
    byte: int
    line: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows.

    Attributes:
        rows: the rows.
        first: position of the first of them among all rows, counted from 0.
        progress: share of the input read so far, 0 to 1; ``None`` when its size is unknown.
        place: where the next row begins, for :meth:`ecomfs.io.TableReader.chunks`; ``None`` for
            inputs that can only be read from the start.
    """

    rows: list[TableRow]
    first: int
    progress: float | None = None
    place: Place | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[TableRow]:
        return iter(self.rows)


class RawRow(NamedTuple):
    """A row as a source yields it, before it is checked against the header.

    Attributes:
        line: as in :class:`TableRow`.
        cells: in file order.
        error: why the record cannot be read.
        note: as in :class:`TableRow`.
        end: how much of the input was read at the end of the record, in the unit of
            :attr:`Source.size`.
        extra: cells beyond the header; delimited files leave them in ``cells``.
        lines: number of lines of the file in the record.
    """

    line: int
    cells: list[str]
    error: str = ""
    note: str = ""
    end: int = 0
    extra: tuple[str, ...] = ()
    lines: int = 1


class Source:
    """An input that yields records with one header.

    Attributes:
        header: names of the columns.
        encoding: name of the codec; empty for formats that are not text.
        note: what a user should check: how the encoding was found, or which sheets are not read.
        dialect: how the file is written.
        size: total size of the input, or ``None`` when unknown.
        seekable: whether :meth:`records` can start at a place.
    """

    header: tuple[str, ...]
    encoding = ""
    note = ""
    dialect = Dialect(delimiter="")
    size: int | None = None
    seekable = False

    @property
    def kinds(self) -> Mapping[str, type]:
        """Column → the type of the values read so far, where it is known."""
        return {}

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The rows, from the first one, or from ``place`` if the source is seekable."""
        raise NotImplementedError


def cell_text(value: Any) -> str:
    """The text of one value.

    Missing values (``None``, NaN, NaT) become the empty cell. Lists and objects become JSON, with
    ``null`` for missing values. Whole floats lose their ``.0``, which Excel and pandas add to
    integer columns. Dates become ISO 8601, without the time if it is midnight.

    Returns
    -------
    str
        The text; for an infinite number an ``InfiniteText``, which is not accepted as a label.

    Examples
    --------
    >>> [cell_text(v) for v in ("好", None, True, 3, 3.0, 0.25, ["a", {"b": "好"}])]
    ['好', '', 'true', '3', '3', '0.25', '["a", {"b": "好"}]']
    >>> cell_text(float("nan")), cell_text([1.0, float("nan")])
    ('', '[1.0, null]')
    >>> cell_text(datetime(2024, 5, 1)), cell_text(datetime(2024, 5, 1, 9, 30))
    ('2024-05-01', '2024-05-01 09:30:00')
    """
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and math.isinf(value):
        return InfiniteText(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple, dict)):
        return NestedText(json.dumps(_without_nan(value), ensure_ascii=False, default=cell_text))
    if isinstance(value, datetime):
        midnight = value.timetz() == time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", errors="backslashreplace")
    return str(value)


def _without_nan(value: Any) -> Any:
    """The value with ``None`` for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if is_missing(value) else value


class IdTracker:
    """A set of ids that keeps only an 8-byte hash of each: about 16 to 32 bytes per id.

    Among ten million different ids the chance of any false alarm is 3 in a million (birthday
    bound n²/2⁶⁵).

    Examples
    --------
    >>> ids = IdTracker()
    >>> ids.add("r1"), ids.add("r2"), ids.add("r1")
    (True, True, False)
    >>> len(ids)
    2
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, identifier: str) -> bool:
        return self._slots[self._place(_hash(identifier))] != 0

    def add(self, identifier: str) -> bool:
        """Add an id; false when it is in the set already."""
        key = _hash(identifier)
        place = self._place(key)
        if self._slots[place]:
            return False
        self._slots[place] = key
        self._count += 1
        if 2 * self._count > len(self._slots):
            self._grow()
        return True

    def _place(self, key: int) -> int:
        """The slot that holds the key, or the free one for it (linear probing)."""
        slots, mask = self._slots, len(self._slots) - 1
        place = key & mask
        while slots[place] and slots[place] != key:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(8 * 2 * len(old)))
        for key in old:
            if key:
                self._slots[self._place(key)] = key


def _hash(identifier: str) -> int:
    # Python's own hash of a text has 64 bits (SipHash) and lives as long as the process.
    return hash(identifier) & 0xFFFF_FFFF_FFFF_FFFF or 1  # 0 marks a free slot
