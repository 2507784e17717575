"""What a table is made of, whatever file it came from.

Rows are named tuples: millions of them are made, and a frozen dataclass takes several times as
long to make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a delimited file is written.

    Attributes:
        delimiter: one of ``,`` ``;`` tab ``|``, a rarer one such as ``^``, or what the caller
            gave; empty for formats that have none.
        backslash: quotes inside quoted cells are written ``\\"`` (Spark, MySQL) and not ``""``.
        preamble: lines before the header (the ``sep=;`` line of spreadsheets).
        spaced: spaces stand between a delimiter and the next cell (``1, "text"``); they belong to
            no cell.
    """

    delimiter: str = ","
    backslash: bool = False
    preamble: int = 0
    spaced: bool = False


class TableRow(NamedTuple):
    """One row.

    Attributes:
        line: where it begins in the file, counted from 1, for a person to find it (the record's
            number in formats without lines).
        cells: column name → text; every column of the header is there.
        error: why the row cannot be used; empty when it can. Its cells hold what could be read.
        note: what had to be done to read it (another encoding than the file's); empty otherwise.
        extra: cells beyond the header's width, so that nothing of the row is lost.
    """

    line: int
    cells: Mapping[str, str]
    error: str = ""
    note: str = ""
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row begins in a file.

    Attributes:
        row: its position among all rows, counted from 0.
        byte: of the file, counted from 0.
        line: of the file, counted from 1.
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


class Record(NamedTuple):
    """A row as a source yields it, before it is checked against the header.

    Attributes:
        line: as in :class:`TableRow`.
        cells: in file order.
        error: why the record cannot be read.
        note: as in :class:`TableRow`.
        end: how much of the input (:attr:`Source.size`) was read when the record was complete.
        extra: what the format found beyond the header; delimited files leave it in ``cells``.
        lines: how many lines of the file it takes.
    """

    line: int
    cells: list[str]
    error: str = ""
    note: str = ""
    end: int = 0
    extra: tuple[str, ...] = ()
    lines: int = 1
