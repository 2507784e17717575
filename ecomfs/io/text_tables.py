"""Parses tables in text files: CSV and TSV, JSON Lines, and JSON arrays.

Lines are decoded strictly. A line that is not in the encoding of the file is tried in UTF-8 or
GB18030, and gets a *note* if that works. Otherwise it gets an *error*, and its text shows the bytes
that cannot be decoded as ``\\xNN`` escapes. U+FFFD is never written.

A stray quote must not hide the rows after it. The csv module parses strictly. When it refuses a
record, or a record grows beyond a limit, only the first line of the record becomes an error, and
parsing starts again at the next line.

Cells of CSV and TSV files that a spreadsheet would run as formulas get a mark when written, which
is removed when read. Excel, LibreOffice and Google Sheets run a cell that begins with ``=``, ``+``,
``-`` or ``@`` (also full-width), or with a tab or line break before one, quoted or not. An
apostrophe in front makes it text (OWASP, "CSV Injection"). Cells that begin with apostrophes before
such a character get one more, so that removing one restores every cell exactly. Numbers and single
characters are not formulas and get no mark.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ecomfs.errors import ColumnError, ConfigError, DecodingError, EmptyInputError, InputError
from ecomfs.io.files import (
    Encoding,
    choose_encoding,
    is_by_line,
    is_gb18030,
    is_utf8,
    log_once,
    open_binary,
    stored_size,
)
from ecomfs.io.rows import Dialect, Place, RawRow, Source, cell_text

MAX_LINE_BYTES = 1 << 26
"""A longer physical line is cut into pieces of this size, so that memory stays bounded."""


class Line(NamedTuple):
    """One physical line with its line end.

    Attributes:
        text: the line; bytes that cannot be decoded are shown as ``\\xNN``.
        note: set when the line was decoded in another encoding than the file.
        error: set when it could not be decoded.
        end: offset of the end of the line in the file, in bytes.
    """

    text: str
    note: str = ""
    error: str = ""
    end: int = 0


def read_lines(
    stream: BinaryIO, encoding: Encoding, *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Line]:
    """Stream the lines of a binary file, each decoded strictly.

    Lines end at a line feed; a carriage return before it stays in the text.

    >>> import io
    >>> mixed = "好\\n".encode() + "质量很好\\n".encode("gb18030")
    >>> [(line.text, line.note) for line in read_lines(io.BytesIO(mixed), Encoding("utf-8"))]
    [('好\\n', ''), ('质量很好\\n', 'decoded as gb18030, the file is utf-8')]
    """
    stream.read(encoding.bom)
    if not is_by_line(encoding.name):
        yield from _decode_stream(stream, encoding)
        return
    end = encoding.bom
    while raw := stream.readline(max_line_bytes):
        end += len(raw)
        if raw.isascii():
            yield Line(raw.decode("ascii"), "", "", end)
        else:
            yield _decode_line(raw, encoding, end)


def _decode_line(raw: bytes, encoding: Encoding, end: int) -> Line:
    name = encoding.name
    if encoding.how == "content" and name != "utf-8" and is_utf8(raw, name):
        return Line(raw.decode("utf-8"), note=f"decoded as utf-8, the file is {name}", end=end)
    try:
        return Line(raw.decode(name), end=end)
    except UnicodeDecodeError as problem:
        if encoding.how != "given" and name == "utf-8" and is_gb18030(raw):
            text = raw.decode("gb18030")
            return Line(text, note="decoded as gb18030, the file is utf-8", end=end)
        bad = raw[problem.start : problem.start + 1].hex().upper()
        error = f"byte {bad} at position {problem.start + 1} of the line is not valid {name}"
        return Line(raw.decode(name, errors="backslashreplace"), error=error, end=end)


def _decode_stream(stream: BinaryIO, encoding: Encoding) -> Iterator[Line]:
    """Lines of an encoding whose line feed is not one byte (UTF-16, UTF-32, ISO-2022)."""
    wide = encoding.name.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(encoding.name)(
        "surrogatepass" if wide else "backslashreplace"
    )
    end, rest, done = encoding.bom, "", False
    while not done:
        raw = stream.read(1 << 16)
        done = not raw
        end += len(raw)
        cut = ""
        try:
            rest += decoder.decode(raw, final=done)
        except UnicodeDecodeError as problem:
            cut = f"the file ends in the middle of a character ({encoding.name})"
            rest += "".join(f"\\x{byte:02x}" for byte in problem.object[problem.start :])
            decoder.reset()
        lines = rest.split("\n")
        rest = "" if done else lines.pop()
        for index, text in enumerate(lines):
            last = done and index == len(lines) - 1
            if last and not text:
                continue
            yield _checked(text if last else text + "\n", cut if last else "", end)


def _checked(text: str, error: str, end: int) -> Line:
    """A line with unpaired surrogates, which UTF-8 cannot encode, shown as escapes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        bad = ord(text[problem.start])
        error = error or f"lone surrogate U+{bad:04X} at character {problem.start + 1} of the line"
        text = text.encode("utf-8", errors="backslashreplace").decode("utf-8")
    return Line(text, error=error, end=end)


MAX_RECORD_CHARS = 4_000_000
"""Longest record, in characters; a longer one counts as an unclosed quote."""

_BACKSLASH_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_MEANINGS = (
    ("unexpected end of data", "a quote that opens in this row is never closed"),
    ("expected after", "a quote inside a quoted cell is not doubled"),
    ("new-line character", "a carriage return is outside quotes"),
    ("field larger", "a cell is too long, or a quote is never closed"),
)


class _RecordTooLongError(Exception):
    pass


def parse_rows(
    lines: Iterable[Line],
    dialect: Dialect,
    *,
    max_record_chars: int = MAX_RECORD_CHARS,
    first_line: int = 1,
) -> Iterator[RawRow]:
    """Parse the records of a delimited file, the header first; blank lines are skipped. If the
    lines are from the middle of a file, ``first_line`` is the number of the first, and they have no
    preamble.

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
    source = iter(lines)
    again: deque[Line] = deque()  # lines of a refused record, after its first
    used: list[Line] = []  # lines of the current record

    def texts() -> Iterator[str]:
        chars = 0
        while True:
            if not used:
                chars = 0
            elif chars > max_record_chars:
                raise _RecordTooLongError
            line = again.popleft() if again else next(source, None)
            if line is None:
                return
            used.append(line)
            chars += len(line.text)
            if dialect.backslash and '\\"' in line.text:
                yield _BACKSLASH_QUOTE.sub(r'\1""', line.text)
            else:
                yield line.text

    reader = partial(
        csv.reader, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced, strict=True
    )
    parser = reader(texts())
    skip, number = (dialect.preamble if first_line == 1 else 0), first_line
    while True:
        number += len(used)
        used.clear()
        error = ""
        try:
            cells = next(parser)
        except StopIteration:
            return
        except (csv.Error, _RecordTooLongError) as problem:
            again.extendleft(reversed(used[1:]))
            del used[1:]
            parser = reader(texts())
            text = used[0].text.rstrip("\r\n")
            cells = [text if len(text) <= max_record_chars else ""]
            error = _meaning(problem)
        if skip:
            skip -= 1
        elif len(used) == 1 and cells:  # the usual case
            (line,) = used
            yield RawRow(number, cells, error or line.error, line.note, line.end)
        elif cells:
            error = error or next((line.error for line in used if line.error), "")
            note = next((line.note for line in used if line.note), "")
            yield RawRow(number, cells, error, note, used[-1].end, lines=len(used))


def _meaning(problem: Exception) -> str:
    message = "field larger" if isinstance(problem, _RecordTooLongError) else str(problem)
    return next((text for key, text in _MEANINGS if key in message), message)


DELIMITERS = (",", "\t", ";", "|")
RARE_DELIMITERS = tuple("^~\x01\x02\x1c\x1d\x1e\x1f¦§¬!#%*:@=$&+")
"""Considered only if the header has no usual delimiter and every row is as wide as the header."""
SNIFF_RECORDS = 200
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)


def sniff_dialect(
    lines: Sequence[Line], *, delimiter: str | None = None, complete: bool = True
) -> Dialect:
    """The dialect with which most records are as wide as the header.

    A delimiter is considered only if it is in the header. A header without any is one column; its
    delimiter is then the one that splits the fewest rows.

    Args:
        lines: the first lines of the file.
        delimiter: given by the caller; then only the quoting is detected.
        complete: false when the file has more lines.

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
            for spaced in (False, True)
            if not spaced or any(f"{mark} " in line.text for line in lines)
        ]
        if backslashes:  # unless all parses without them: then one is the end of a cell
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
        # Better than no delimiter at all: its error message says what to fix.
        return _Fit(dialect.delimiter in header.cells[0], 0.0, False, True, 0)
    width = len(header.cells)
    # Spaces belong to the delimiter if the header has one after each delimiter, or most rows have
    # quotes after them; else they are part of the cell. Quoted text is ignored here.
    first, *others = [_QUOTED.sub('""', line.text) for line in lines[dialect.preamble :]]
    quoted = sum(f'{dialect.delimiter} "' in text for text in others)
    spaced = width > 1 and first.count(dialect.delimiter + " ") == width - 1
    spaced = spaced or quoted * 2 > len(others)
    as_wide = sum(len(row.cells) == width for row in rows if not row.error)
    return _Fit(
        width > 1,
        as_wide / len(rows) if rows else 1.0,
        dialect.spaced == spaced,
        not dialect.backslash,
        width,
    )


SNIFF_BYTES = 1 << 18
_BINARY = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1", b"%PDF", b"\x28\xb5\x2f\xfd", b"SQLite")


class TextSource(Source):
    """A table in a text file; every pass reads it again, with bounded memory.

    Raises:
        MissingFileError, DecodingError, ConfigError: see :class:`ecomfs.io.TableReader`.
    """

    def _begin(self, path: Path, given: str | None) -> bytes:
        """Decide the encoding; returns the bytes that were read for it."""
        self._path = path
        with open_binary(path) as stream:
            start = stream.peek(8)[:8]
            if start.startswith(_BINARY):
                raise DecodingError(
                    f"{path.name}: this is not a text file (it begins with {start[:4]!r})",
                    hint="save it as CSV, or give it the suffix of its format (.xlsx, .parquet, "
                    ".zst)",
                )
            self._encoding, head = choose_encoding(stream, given, source=path.name)
        self.encoding, self.note = self._encoding.name, self._encoding.note
        if self.note:
            fix = "" if given else "; if that is wrong, name the encoding with --input-encoding"
            log_once(path, self.note + fix)
        self.size = stored_size(path)
        return head


class DelimitedSource(TextSource):
    """A CSV or TSV file.

    Raises:
        EmptyInputError, ColumnError: see :class:`ecomfs.io.TableReader`.
        ConfigError: the delimiter or the encoding asked for cannot be one.
    """

    def __init__(
        self, path: Path, *, encoding: str | None = None, delimiter: str | None = None
    ) -> None:
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            hint = "give one character, such as ; or |"
            raise ConfigError(f"{delimiter!r} cannot be a delimiter", hint=hint)
        head, codec = self._begin(path, encoding), self._encoding
        if not head[codec.bom :].strip():
            raise EmptyInputError(
                f"{path.name}: the file is empty", hint="it needs a line of column names, and rows"
            )
        by_line = is_by_line(codec.name)
        self._old_mac = by_line and b"\r" in head and b"\n" not in head
        self.seekable = by_line and not self._old_mac and self.size is not None
        part = head[:SNIFF_BYTES]
        complete = len(part) < SNIFF_BYTES
        lines = list(self._lines(io.BytesIO(part)))
        if not complete and len(lines) > 1:
            lines.pop()
        bad = sum(bool(line.error) for line in lines)
        if bad * 2 > sum(not line.text.isascii() or bool(line.error) for line in lines):
            raise DecodingError(
                f"{path.name}: most lines that are not plain ASCII are not valid {codec.name}",
                hint="leave --input-encoding out to have it found, or name the right one",
            )
        self.dialect = sniff_dialect(lines, delimiter=delimiter, complete=complete)
        with open_binary(path) as stream:
            header = next(parse_rows(self._lines(stream), self.dialect), None)
        if header is None:
            raise EmptyInputError(f"{path.name}: the file has no header")
        if header.error:
            raise ColumnError(
                f"{path.name}: the header cannot be read: {header.error}",
                hint="fix the first line, or name the encoding with --input-encoding",
            )
        self.header = tuple(header.cells)

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The rows after the header, or from a place on."""
        with open_binary(self._path) as stream:
            if place is None:
                yield from islice(parse_rows(self._lines(stream), self.dialect), 1, None)
                return
            start = place.byte
            stream.seek(start)
            lines = read_lines(stream, replace(self._encoding, bom=0))
            moved = (line._replace(end=line.end + start) for line in lines)
            yield from parse_rows(moved, self.dialect, first_line=place.line)

    def _lines(self, stream: BinaryIO) -> Iterator[Line]:
        if self._old_mac:
            stream = io.BufferedReader(_LineFeeds(stream))
        return read_lines(stream, self._encoding)


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


HEADER_RECORDS = 1000
"""Objects whose keys make the header; a key that appears only later is kept as an extra cell."""
MAX_ARRAY_BYTES = 1 << 28
"""Largest JSON array; unlike lines, an array must be held in memory whole."""


class JsonLinesSource(TextSource):
    """Every line one JSON object; a line that is not one is a bad row.

    Raises:
        EmptyInputError: no line holds an object with a key.
    """

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self._begin(path, encoding)
        keys: dict[str, None] = {}
        for _, parsed, _ in islice(self._objects(), HEADER_RECORDS):
            if isinstance(parsed, dict):
                keys |= dict.fromkeys(parsed)
        if not keys:
            hint = "expected one JSON object per line"
            raise EmptyInputError(f"{path.name}: no JSON object in it", hint=hint)
        self.header = tuple(keys)

    def records(self, place: Place | None = None) -> Generator[RawRow]:
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


class JsonArraySource(TextSource):
    """A file with one JSON array of objects.

    Raises:
        InputError: it is not such an array, or too large to be held in memory.
        EmptyInputError: an empty array.
    """

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self._begin(path, encoding)
        with open_binary(path) as stream:
            data = stream.read(MAX_ARRAY_BYTES + 1)
        if len(data) > MAX_ARRAY_BYTES:
            hint = "write it as JSON Lines, one object per line"
            raise InputError(f"{path.name}: a JSON array of more than 256 MB", hint=hint)
        lines = read_lines(io.BytesIO(data), self._encoding)
        try:
            rows = json.loads("".join(line.text for line in lines), object_pairs_hook=_object)
        except _RepeatedKeyError as problem:
            raise InputError(
                f"{path.name}: an object has {problem} twice", hint="give each key once"
            ) from problem
        except json.JSONDecodeError as problem:
            at = f"line {problem.lineno}, column {problem.colno}"
            raise InputError(f"{path.name}: not JSON at {at}: {problem.msg}") from problem
        except (ValueError, RecursionError) as problem:
            hint = "write it as JSON Lines, where such a row affects no other"
            raise InputError(f"{path.name}: {_limit(problem)}", hint=hint) from problem
        if not isinstance(rows, list):
            hint = "expected an array of objects, or JSON Lines named .jsonl"
            raise InputError(f"{path.name}: the JSON is not an array", hint=hint)
        self.size = len(rows)
        self._rows = rows
        keys = dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row)
        if not keys:
            raise EmptyInputError(f"{path.name}: no JSON object in it")
        self.header = tuple(keys)

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The objects in order; ``line`` is the position in the array, counted from 1."""
        for number, row in enumerate(self._rows, 1):
            if isinstance(row, dict):
                yield _object_row(number, row, self.header, Line("", end=number))
            else:
                yield RawRow(number, [cell_text(row)], "not a JSON object", end=number)


def is_array(path: Path) -> bool:
    """Whether a JSON file holds an array; many ``.json`` files hold JSON Lines."""
    with open_binary(path) as stream:
        head = stream.read(64)
    return head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"[")


class _RepeatedKeyError(Exception):
    """An object has one key twice, so that its value is ambiguous."""


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
    except json.JSONDecodeError as problem:
        return f"not JSON at column {problem.colno}"
    except (ValueError, RecursionError) as problem:
        return _limit(problem)
    return value if isinstance(value, dict) else "not a JSON object"


def _limit(problem: Exception) -> str:
    """What of a valid JSON text Python refuses to read."""
    deep = isinstance(problem, RecursionError)
    return "values are nested too deeply" if deep else "a number has too many digits"


def _object_row(number: int, row: dict[str, Any], header: tuple[str, ...], line: Line) -> RawRow:
    beyond = {key: value for key, value in row.items() if key not in header}
    try:
        cells = [cell_text(row.get(name)) for name in header]
        extra = (cell_text(beyond),) if beyond else ()
    except RecursionError as problem:
        return RawRow(number, [""] * len(header), _limit(problem), line.note, line.end)
    note = line.note or ("keys beyond the header: " + ", ".join(beyond) if beyond else "")
    return RawRow(number, cells, line.error, note, line.end, extra)


_RUN = re.compile("['\\s\ufeff]*[=+\\-@＝＋－＠]|['\\s]*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)(e[+-]?\d+)?%?", re.IGNORECASE)

marks_written: ContextVar[bool] = ContextVar("marks_written", default=False)
"""Whether written cells are marked (:func:`safe_csv`)."""
marks_read: ContextVar[bool] = ContextVar("marks_read", default=False)
"""Whether marks are removed from cells that are read (:func:`safe_csv`)."""


def safe_cell(text: str) -> str:
    """The cell, with an apostrophe in front if a spreadsheet would run it as a formula.

    Examples
    --------
    >>> [safe_cell(t) for t in ("=1+1", "@sum", "-5.3", "fits", "-", "'=1")]
    ["'=1+1", "'@sum", '-5.3', 'fits', '-', "''=1"]
    """
    if text[:1].isalnum():  # the usual case
        return text
    # A single sign is not a formula; a single apostrophe would look like the mark.
    lone = len(text.strip()) == 1 and not text.startswith("'")
    if not _RUN.match(text) or _NUMBER.fullmatch(text) or lone:
        return text
    return f"'{text}"


def plain_cell(text: str) -> str:
    """Undo :func:`safe_cell`.

    Examples
    --------
    >>> [plain_cell(t) for t in ("'=1+1", "-5.3", "''=1", "'tis fine")]
    ['=1+1', '-5.3', "'=1", "'tis fine"]
    """
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


@contextmanager
def safe_csv(*, written: bool = False, read: bool = False) -> Iterator[None]:
    """While the block runs, cells of CSV and TSV files are marked when written, or unmarked when
    read.

    Parameters
    ----------
    written : bool
        Mark cells that are written, headers included.
    read : bool
        Remove marks from cells that are read, headers included.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ecomfs.io import AtomicWriter, TableReader
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "out.csv"
    >>> with safe_csv(written=True), AtomicWriter(path, ["text"]) as out:
    ...     out.write([["=1+1"]])
    >>> path.read_text().split()
    ['text', "'=1+1"]
    >>> with safe_csv(read=True):
    ...     [row.cells["text"] for row in TableReader(path).rows()]
    ['=1+1']
    """
    tokens = marks_written.set(written), marks_read.set(read)
    try:
        yield
    finally:
        marks_written.reset(tokens[0])
        marks_read.reset(tokens[1])
