"""CSV and TSV files as a source of records."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from ecomfs.errors import ColumnError, ConfigError, DecodingError, EmptyInputError
from ecomfs.io.decode import Line, read_lines
from ecomfs.io.dialect import sniff_dialect
from ecomfs.io.files import choose_encoding_of, open_binary, stored_size
from ecomfs.io.records import parse_records
from ecomfs.io.rows import Record

SNIFF_BYTES = 1 << 18
_BINARY = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1", b"%PDF", b"\x28\xb5\x2f\xfd", b"SQLite")


class DelimitedSource:
    """A delimited text file; every pass streams it anew with bounded memory.

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
        """What a person should know about how the encoding was found."""
        return self._encoding.note

    @property
    def size(self) -> int | None:
        """Bytes of text; ``None`` for compressed files, which do not tell."""
        return stored_size(self._path)

    def records(self) -> Generator[Record]:
        """The rows after the header."""
        with closing(self._all()) as records:
            next(records, None)
            yield from records

    @property
    def from_anywhere(self) -> bool:
        """Whether :meth:`records_from` works: lines are lines of the file's own bytes."""
        return self._encoding.by_line and not self._old_mac and self.size is not None

    def records_from(self, byte: int, line: int) -> Generator[Record]:
        """The rows from the one on that begins at this byte, on this line."""
        inside = replace(self._encoding, bom=0)
        with open_binary(self._path) as stream:
            stream.seek(byte)
            lines = (at._replace(end=at.end + byte) for at in read_lines(stream, inside))
            yield from parse_records(lines, self.dialect, first_line=line)

    def _all(self) -> Generator[Record]:
        with open_binary(self._path) as stream:
            lines = read_lines(self._translated(stream), self._encoding)
            yield from parse_records(lines, self.dialect)

    def _read_header(self) -> tuple[str, ...]:
        with closing(self._all()) as records:
            record = next(records, None)
        if record is None:
            raise EmptyInputError(f"{self._path.name}: the file has no header")
        if record.error:
            raise ColumnError(
                f"{self._path.name}: the header cannot be read: {record.error}",
                hint="mend the first line, or name the encoding with --input-encoding",
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
