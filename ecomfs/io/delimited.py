"""CSV and TSV: physical lines to rows, and how a file is delimited and quoted.

A stray quote must not swallow the rows after it. The csv module parses strictly; when it refuses a
record, or the record grows beyond a limit, only the record's first line becomes an error and
parsing starts again at the next line.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from ecomfs.errors import ColumnError, ConfigError, DecodingError, EmptyInputError
from ecomfs.io.encoding import Line, read_lines
from ecomfs.io.files import choose_encoding_of, open_binary, stored_size
from ecomfs.io.rows import Dialect, RawRow

MAX_RECORD_CHARS = 4_000_000
"""Longest record, in characters; what is longer is taken for an unclosed quote."""

_BACKSLASH_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_MEANINGS = (
    ("unexpected end of data", "a quote that opens in it is never closed"),
    ("expected after", "a quote inside a quoted cell is not doubled"),
    ("new-line character", "a carriage return stands outside quotes"),
    ("field larger", "a cell is too long, or a quote is never closed"),
)


class _RecordTooLongError(Exception):
    pass


class _Feed:
    """Lines for the csv module; remembers those of the record under way and takes them back."""

    def __init__(self, lines: Iterable[Line], backslash: bool, limit: int, first: int) -> None:
        self._lines = iter(lines)
        self._back: deque[Line] = deque()
        self._backslash = backslash
        self._limit = limit
        self._chars = 0
        self.used: list[Line] = []
        self.line = first  # number of the record's first line

    def begin(self) -> None:
        self.line += len(self.used)
        self.used = []
        self._chars = 0

    def restart_after_first(self) -> None:
        self._back.extendleft(reversed(self.used[1:]))
        del self.used[1:]

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self._chars > self._limit:
            raise _RecordTooLongError
        line = self._back.popleft() if self._back else next(self._lines)
        self.used.append(line)
        self._chars += len(line.text)
        if self._backslash and '\\"' in line.text:
            return _BACKSLASH_QUOTE.sub(r'\1""', line.text)
        return line.text


def parse_rows(
    lines: Iterable[Line],
    dialect: Dialect,
    *,
    max_record_chars: int = MAX_RECORD_CHARS,
    first_line: int = 1,
) -> Iterator[RawRow]:
    """Records of a delimited file, the header's first; blank lines are no records. Lines from
    the middle of a file begin with ``first_line``, and have no preamble.

    >>> rows = ['id,text\\n', '1,"two\\n', 'lines"\\n', '2,"bad" quote\\n', '3,ok\\n']
    >>> for r in parse_rows([Line(row) for row in rows], Dialect()):
    ...     print(r.line, r.cells, r.error)
    1 ['id', 'text']
    2 ['1', 'two\\nlines']
    4 ['2,"bad" quote'] a quote inside a quoted cell is not doubled
    5 ['3', 'ok']
    """
    if csv.field_size_limit() < max_record_chars:  # process-wide; never lowered
        csv.field_size_limit(max_record_chars)
    feed = _Feed(lines, dialect.backslash, max_record_chars, first_line)
    skip = dialect.preamble if first_line == 1 else 0

    def begin() -> Iterator[list[str]]:
        return csv.reader(
            feed, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced, strict=True
        )

    parser = begin()
    while True:
        feed.begin()
        try:
            record = _record(feed, next(parser))
        except StopIteration:
            return
        except (csv.Error, _RecordTooLongError) as problem:
            feed.restart_after_first()
            parser = begin()
            text = feed.used[0].text.rstrip("\r\n")
            kept = text if len(text) <= max_record_chars else ""
            record = _record(feed, [kept], error=_meaning(problem))
        if skip:
            skip -= 1
        elif record.cells:
            yield record


def _record(feed: _Feed, cells: list[str], error: str = "") -> RawRow:
    used = feed.used
    if len(used) == 1:  # so it is with nearly all
        (line,) = used
        return RawRow(feed.line, cells, error or line.error, line.note, line.end)
    error = error or next((line.error for line in used if line.error), "")
    note = next((line.note for line in used if line.note), "")
    return RawRow(feed.line, cells, error, note, used[-1].end, lines=len(used))


def _meaning(problem: Exception) -> str:
    message = "field larger" if isinstance(problem, _RecordTooLongError) else str(problem)
    return next((text for key, text in _MEANINGS if key in message), message)


DELIMITERS = (",", "\t", ";", "|")
RARE_DELIMITERS = tuple("^~\x01\x02\x1c\x1d\x1e\x1f¦§¬!#%*:@=$&+")
"""Taken only where no usual one is in the header, and every row is as wide as it."""
SNIFF_RECORDS = 200
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)


def sniff_dialect(
    lines: Sequence[Line], *, delimiter: str | None = None, complete: bool = True
) -> Dialect:
    """The dialect under which most records are as wide as the header.

    A delimiter counts only if the header holds it; a header without any is one column, and its
    delimiter is the one that disturbs the rows least.

    Args:
        lines: the first lines of the file.
        delimiter: given by the caller; then only the quoting is found out.
        complete: false when ``lines`` stop before the file does.

    >>> sniff_dialect([Line("id;text\\n"), Line("1;one, two\\n")]).delimiter
    ';'
    >>> sniff_dialect([Line("id^text\\n"), Line("1^one, two\\n")]).delimiter
    '^'
    >>> sniff_dialect([Line('id, "text"\\n'), Line('1, "one, two"\\n')]).spaced
    True
    """
    preamble = 0
    if lines and (named := _SEP_LINE.fullmatch(lines[0].text)):
        preamble, delimiter = 1, delimiter or named[1]
    header = lines[preamble].text if len(lines) > preamble else ""
    backslashes = any('\\"' in line.text for line in lines)

    def best(marks: Sequence[str]) -> tuple[_Fit, Dialect]:
        candidates = [
            Dialect(mark, False, preamble, spaced)
            for mark in marks
            for spaced in _spacing(lines, mark)
        ]
        if backslashes:  # not where all can be read without them: then one stands at a cell's end
            candidates += [replace(d, backslash=True) for d in candidates if _broken(lines, d)]
        fits = [(_fit(lines, dialect, complete), dialect) for dialect in candidates]
        return max(fits, key=lambda found: found[0])  # the first of equals, the comma

    fit, dialect = best([delimiter] if delimiter else DELIMITERS)
    if delimiter is None and not fit.in_header:
        rare = [mark for mark in RARE_DELIMITERS if mark in header]
        if rare:
            other, unusual = best(rare)
            if other.in_header and other.share == 1.0:
                return unusual
    return dialect


_QUOTED = re.compile(r'"[^"]*"')


class _Fit(NamedTuple):
    in_header: bool
    share: float
    spaced: bool
    plain: bool
    width: int


def _spacing(lines: Sequence[Line], mark: str) -> tuple[bool, ...]:
    """Whether to try a dialect with spaces after the delimiter."""
    spaced = mark + " "
    return (False, True) if any(spaced in line.text for line in lines) else (False,)


def _broken(lines: Sequence[Line], dialect: Dialect) -> bool:
    """Whether a record cannot be read."""
    return any(record.error for record in islice(parse_rows(lines, dialect), SNIFF_RECORDS))


def _fit(lines: Sequence[Line], dialect: Dialect, complete: bool) -> _Fit:
    records = list(islice(parse_rows(lines, dialect), SNIFF_RECORDS + 1))
    if not complete and 2 < len(records) <= SNIFF_RECORDS:
        records.pop()
    if not records:
        return _Fit(False, 0.0, False, True, 0)
    header, rows = records[0], records[1:]
    if header.error:
        # Better than no delimiter at all: its message says what to fix.
        return _Fit(dialect.delimiter in header.cells[0], 0.0, False, True, 0)
    width = len(header.cells)
    # Cells are kept as they are; spaces belong to the delimiter where the header has them after
    # each one, or most rows have quotes behind them.
    # What stands inside quotes is of a cell.
    first, *others = [_QUOTED.sub('""', line.text) for line in lines[dialect.preamble :]]
    quoted = sum(f'{dialect.delimiter} "' in text for text in others)
    spaced = width > 1 and first.count(dialect.delimiter + " ") == width - 1
    spaced = spaced or quoted * 2 > len(others)
    return _Fit(
        width > 1,
        _share_as_wide(rows, width),
        dialect.spaced == spaced,
        not dialect.backslash,
        width,
    )


def _share_as_wide(rows: Sequence[RawRow], width: int) -> float:
    if not rows:
        return 1.0
    widths = Counter(len(row.cells) for row in rows if not row.error)
    return widths[width] / len(rows)


SNIFF_BYTES = 1 << 18
_BINARY = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1", b"%PDF", b"\x28\xb5\x2f\xfd", b"SQLite")


class DelimitedSource:
    """A delimited text file; every pass reads it again, with bounded memory.

    Raises:
        MissingFileError, DecodingError, EmptyInputError, ColumnError: see
            :class:`ecomfs.io.TableReader`.
        ConfigError: the delimiter or the encoding asked for cannot be one.
    """

    def __init__(
        self, path: Path, *, encoding: str | None = None, delimiter: str | None = None
    ) -> None:
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            hint = "give one character, such as ; or |"
            raise ConfigError(f"{delimiter!r} cannot be a delimiter", hint=hint)
        self._path = path
        with open_binary(path) as stream:
            _refuse_binary(path.name, stream)
            self._encoding, head = choose_encoding_of(path, stream, encoding)
        if not head[self._encoding.bom :].strip():
            raise EmptyInputError(
                f"{path.name}: the file is empty", hint="it needs a line of column names, and rows"
            )
        self._old_mac = self._encoding.by_line and b"\r" in head and b"\n" not in head
        part = head[:SNIFF_BYTES]
        complete = len(part) < SNIFF_BYTES
        lines = list(read_lines(self._translated(io.BytesIO(part)), self._encoding))
        if not complete and len(lines) > 1:
            lines.pop()
        self._refuse_undecodable(lines)
        self.dialect = sniff_dialect(lines, delimiter=delimiter, complete=complete)
        self.header = self._read_header()

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
        """Bytes of text; ``None`` for compressed files, whose size is unknown."""
        return stored_size(self._path)

    def records(self) -> Generator[RawRow]:
        """The rows after the header."""
        with closing(self._all()) as records:
            next(records, None)
            yield from records

    @property
    def from_anywhere(self) -> bool:
        """Whether :meth:`records_from` works: lines are lines of the file's own bytes."""
        return self._encoding.by_line and not self._old_mac and self.size is not None

    def records_from(self, byte: int, line: int) -> Generator[RawRow]:
        """The rows from the one on that begins at this byte, on this line."""
        inside = replace(self._encoding, bom=0)
        with open_binary(self._path) as stream:
            stream.seek(byte)
            lines = (at._replace(end=at.end + byte) for at in read_lines(stream, inside))
            yield from parse_rows(lines, self.dialect, first_line=line)

    def _all(self) -> Generator[RawRow]:
        with open_binary(self._path) as stream:
            lines = read_lines(self._translated(stream), self._encoding)
            yield from parse_rows(lines, self.dialect)

    def _read_header(self) -> tuple[str, ...]:
        with closing(self._all()) as records:
            record = next(records, None)
        if record is None:
            raise EmptyInputError(f"{self._path.name}: the file has no header")
        if record.error:
            raise ColumnError(
                f"{self._path.name}: the header cannot be read: {record.error}",
                hint="fix the first line, or name the encoding with --input-encoding",
            )
        return tuple(record.cells)

    def _refuse_undecodable(self, lines: list[Line]) -> None:
        bad = sum(bool(line.error) for line in lines)
        other = sum(not line.text.isascii() or bool(line.error) for line in lines)
        if bad * 2 > other:
            name = self._encoding.name
            raise DecodingError(
                f"{self._path.name}: most lines that are not plain ASCII are not valid {name}",
                hint="leave --input-encoding out to have it found, or name the right one",
            )

    def _translated(self, stream: BinaryIO) -> BinaryIO:
        return io.BufferedReader(_LineFeeds(stream)) if self._old_mac else stream


def _refuse_binary(name: str, stream: BinaryIO) -> None:
    start = cast("io.BufferedReader", stream).peek(8)[:8]
    if start.startswith(_BINARY):
        raise DecodingError(
            f"{name}: this is not a text file (it begins with {start[:4]!r})",
            hint="save it as CSV, or name it by what it is (.xlsx, .parquet, .zst)",
        )


class _LineFeeds(io.RawIOBase):
    """Carriage returns as line feeds, for files that end their lines as old Macs did."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._stream.read(len(view)).replace(b"\r", b"\n")
        view[: len(data)] = data
        return len(data)
