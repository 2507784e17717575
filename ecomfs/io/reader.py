"""Reads any table in chunks of text cells; bad rows are kept and marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ecomfs.core.messages import did_you_mean
from ecomfs.errors import ColumnError, ConfigError, EmptyInputError
from ecomfs.io.files import (
    BOOKS,
    STANDARD,
    format_suffix,
    is_saved_folder,
    split_book,
    standard_input,
)
from ecomfs.io.formats import HUB, ExcelSource, HubSource, ParquetSource, SqlSource
from ecomfs.io.rows import Chunk, Place, RawRow, Source, TableRow
from ecomfs.io.sql_table import SQL
from ecomfs.io.text_tables import (
    DelimitedSource,
    JsonArraySource,
    JsonLinesSource,
    is_array,
    marks_read,
    plain_cell,
)

if TYPE_CHECKING:
    import pandas as pd


MAX_CELL_CHARS = 100_000
_FIRST_RECORDS = 200
_PARQUET = {".parquet", ".pq"}
_CHUNK_CHARS = 8_000_000  # a chunk of long rows is cut short, so that memory stays bounded


class TableReader:
    """A table, streamed in chunks of rows.

    It reads CSV and TSV, JSON Lines (``.jsonl``), a JSON array (``.json``), Parquet, Excel
    (``book.xlsx``, ``book.xlsx#Sheet2``, several sheets ``book.xlsx#May/June`` or ``#*``), the text
    formats also compressed with gzip or zstd, a Hugging Face data set
    (``hf:owner/name#config@split``, or a saved folder), a SQL query
    (``sql:sqlite:///shop.db#SELECT id, text FROM reviews``) and, in any of the formats of files,
    standard input (``-``).

    Iterating gives one :class:`Chunk` after the other and can be repeated; memory does not grow
    with the number of rows. Cells are text exactly as in the file, empty cells are ``""``. A row
    that cannot be used has its ``error`` set: it is too wide or too narrow, a cell is longer than
    ``max_cell_chars``, a cell has a NUL character, bytes cannot be decoded, or quotes do not match.
    Blank lines are not rows.

    Parameters
    ----------
    path : str | PathLike[str]
        The file, or the ``hf:`` or ``sql:`` input.
    encoding : str
        Encoding of the file; detected by default (byte-order mark, UTF-8, else the one that fits
        the text clearly best, see :attr:`note`).
    delimiter : str | None
        Delimiter of the file; detected by default among ``,`` tab ``;`` ``|`` and, if the header
        has none of them, rarer ones such as ``^``.
    chunk_rows : int
        Rows per chunk.
    max_cell_chars : int
        Longest usable cell, in characters.
    allow_nul : bool
        Accept NUL characters, for callers that remove them.

    Attributes
    ----------
    name : str
        Name of the input in messages.
    path : str | PathLike[str]
        The input as a path.
    header : tuple[str, ...]
        Column names in file order.
    encoding : str
        The codec that decodes the file; empty for formats that are not text.
    note : str
        What the user should check: how the encoding was found, or which sheets are not read; else
        empty.
    dialect : Dialect
        How the file is written.

    Raises
    ------
    MissingFileError
        The file does not exist, or there is no permission to read it.
    EmptyInputError
        The file is empty, or has a header and no rows.
    ColumnError
        Two columns have the same name, or the header cannot be read.
    DecodingError
        The bytes are not text in a supported encoding.
    InputError
        The input is damaged, or cannot be loaded.
    ConfigError
        An unknown encoding, a delimiter that cannot be one, a limit below 1, or the package that
        reads the format is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
    >>> _ = path.write_text("id;text\\n1;很好\\n2\\n", encoding="gb18030")
    >>> reader = TableReader(path)
    >>> reader.header, reader.encoding, reader.dialect.delimiter
    (('id', 'text'), 'gb18030', ';')
    >>> for row in reader.rows():
    ...     print(row.line, dict(row.cells), row.error)
    2 {'id': '1', 'text': '很好'}
    3 {'id': '2', 'text': ''} line 3: 1 cell where the header has 2
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        chunk_rows: int = 1000,
        max_cell_chars: int = MAX_CELL_CHARS,
        allow_nul: bool = False,
    ) -> None:
        if chunk_rows < 1 or max_cell_chars < 1:
            raise ConfigError("chunk_rows and max_cell_chars must be at least 1")
        where = str(path)
        if isinstance(path, Path) and where.startswith(SQL):
            raise ConfigError(  # a path has lost slashes of the URL
                "a query is given where a file is read",
                hint="write its rows to a file first; ecomfs score and plan read queries",
            )
        self.path = Path(where)
        self.chunk_rows = chunk_rows
        self.max_cell_chars = max_cell_chars
        self.allow_nul = allow_nul
        self._source = open_source(where, encoding=encoding, delimiter=delimiter)
        self.encoding, self.note = self._source.encoding, self._source.note
        self.dialect = self._source.dialect
        self.name: str = getattr(self._source, "name", "") or (
            "standard input"
            if where == STANDARD
            else where
            if where.startswith("hf:")
            else self.path.name
        )
        with closing(self._source.records()) as records:
            first = list(islice(records, _FIRST_RECORDS))
        self._unmark = marks_read.get() and isinstance(self._source, DelimitedSource)
        names = _named(self._source.header, first)
        self.header = tuple(map(plain_cell, names)) if self._unmark else names
        for name, count in Counter(self.header).items():
            if count > 1:
                places = [str(i) for i, n in enumerate(self.header, 1) if n == name]
                called = f"are called {name!r}" if name else "have no name"
                raise ColumnError(
                    f"{self.name}: {count} columns {called} (positions {', '.join(places)})",
                    hint="give each column a name of its own",
                )
        if not first:
            columns = ", ".join(self.header)
            raise EmptyInputError(
                f"{self.name}: the file has a header ({columns}) and no rows",
                hint="add rows below it",
            )

    @property
    def kinds(self) -> Mapping[str, type]:
        """Column → type of its values, if the input has types and all values so far share one."""
        return self._source.kinds

    def require(self, *columns: str) -> None:
        """Raise :class:`ColumnError` if a column is missing."""
        for column in columns:
            if column in self.header:
                continue
            near = did_you_mean(column, self.header, fold=True)
            raise ColumnError(
                f"{self.name}: no column {column!r}",
                hint=f"{near}columns are: {', '.join(self.header)}",
            )

    def chunks(self, skip: int = 0, place: Place | None = None) -> Generator[Chunk]:
        """The chunks, without the first ``skip`` rows.

        Skipped rows are read, but not checked. A ``place`` from an earlier chunk of the same file,
        at or before that row, saves most of the reading.
        """
        size, seekable = self._source.size, self._source.seekable
        if not seekable or place is None or place.row > skip:
            place = None
        begun, start = self._source.records(place), place.row if place else 0
        rows: list[TableRow] = []
        first, chars = skip, 0
        with closing(begun) as records:
            for record in islice(records, skip - start, None):
                rows.append(self._row(record))
                chars += sum(map(len, record.cells))
                if len(rows) >= self.chunk_rows or chars >= _CHUNK_CHARS:
                    progress = record.end / size if size else None
                    after = first + len(rows)
                    next_line = record.line + record.lines
                    at = Place(after, record.end, next_line) if seekable else None
                    yield Chunk(rows, first, progress, at)
                    first = after
                    rows, chars = [], 0
        if rows:
            yield Chunk(rows, first, 1.0 if size else None)

    __iter__ = chunks

    def rows(self) -> Iterator[TableRow]:
        """The rows one by one."""
        for chunk in self:
            yield from chunk

    def _row(self, record: RawRow) -> TableRow:
        names = self.header
        cells = [*map(plain_cell, record.cells)] if self._unmark else record.cells
        if len(cells) == len(names) and not (record.error or record.note or record.extra):
            error = self._problem(cells)  # the usual case
            message = f"line {record.line}: {error}" if error else ""
            return TableRow(record.line, dict(zip(names, cells, strict=True)), message, "", ())
        extra = record.extra or tuple(cells[len(names) :])
        # Some exports end every row with extra delimiters, also where the header has none.
        spare = bool(extra) and not any(extra)
        error = record.error or self._problem(cells[: len(names)] if spare else cells)
        beyond = spare and len(cells) > len(self._source.header)
        note = record.note or ("empty cells beyond the header" if beyond else "")
        padded = dict(zip(names, cells, strict=False))
        if len(padded) < len(names):
            padded = dict.fromkeys(names, "") | padded
        message = f"line {record.line}: {error}" if error else ""
        fits = spare or len(cells) == len(names)
        return TableRow(record.line, padded, message, note, extra, fits)

    def _problem(self, cells: list[str]) -> str:
        names = self.header
        if len(cells) != len(names):
            found = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"
            return f"{found} where the header has {len(names)}"
        joined = "".join(cells)
        if "\0" in joined and not self.allow_nul:
            name = next(n for n, cell in zip(names, cells, strict=True) if "\0" in cell)
            return f"column {name!r} holds a NUL character"
        if len(joined) > self.max_cell_chars:
            for name, cell in zip(names, cells, strict=True):
                if len(cell) > self.max_cell_chars:
                    limit = f"more than the limit of {self.max_cell_chars:,}"
                    return f"column {name!r} has {len(cell):,} characters, {limit}"
        return ""


def _named(header: tuple[str, ...], first: Sequence[RawRow]) -> tuple[str, ...]:
    """The header with several nameless columns resolved. Empty ones at its end are removed
    (spreadsheets write them where a cell was once used); empty ones between others are named by
    their number; nameless columns with values stay, and are refused.

    >>> _named(("", "text", "", ""), [RawRow(2, ["1", "good", "", ""])])
    ('', 'text')
    >>> _named(("text", "", "", "label"), [RawRow(2, ["good", "", "", "x"])])
    ('text', 'column 2', 'column 3', 'label')
    """
    empty = {
        place
        for place, name in enumerate(header)
        if not name and not any(r.cells[place : place + 1] > [""] for r in first if not r.error)
    }
    if header.count("") < 2:
        return header
    width = len(header)
    while width - 1 in empty and width > 1:
        width -= 1
    names = header[:width]
    if names.count("") < 2:
        return names
    return tuple(
        f"column {place + 1}" if place in empty else name for place, name in enumerate(names)
    )


def open_source(where: str, *, encoding: str | None = None, delimiter: str | None = None) -> Source:
    """Open the source for a path, ``hf:...`` or ``sql:...``.

    Sheets of a workbook are named after ``#``: ``book.xlsx#Sheet2``, ``book.xlsx#May/June``.

    Raises:
        ConfigError: an encoding or delimiter for a format that has none.
        Others: see :class:`ecomfs.io.TableReader`.
    """
    if where == STANDARD:
        where = str(standard_input())
    book, sheets = split_book(where)
    path, kind = Path(book), format_suffix(book)
    typed: Source | None = None
    if where.startswith(SQL):
        typed = SqlSource(where)
    elif where.startswith(HUB) or is_saved_folder(path):
        typed = HubSource(where)
    elif kind in _PARQUET:
        typed = ParquetSource(path)
    elif kind in BOOKS:
        typed = ExcelSource(path, sheets=sheets)
    if typed is not None:
        if encoding or delimiter:
            raise ConfigError(f"{where}: encoding and delimiter do not apply to this format")
        return typed
    if kind in {".jsonl", ".ndjson", ".json"}:
        if delimiter:
            raise ConfigError(f"{where}: a delimiter does not apply to JSON")
        if kind == ".json" and is_array(path):
            return JsonArraySource(path, encoding=encoding)
        return JsonLinesSource(path, encoding=encoding)
    if delimiter is None and kind in {".tsv", ".tab"}:
        delimiter = "\t"
    return DelimitedSource(path, encoding=encoding, delimiter=delimiter)


def text_encoding(where: str | PathLike[str], encoding: str | None) -> str | None:
    """The encoding given for all tables of a command, if it applies to this one; else ``None``.

    Examples
    --------
    >>> text_encoding("pool.csv.gz", "cp1252"), text_encoding("pool.parquet", "cp1252")
    ('cp1252', None)
    """
    text = str(where)
    typed = text.startswith((SQL, HUB)) or is_saved_folder(Path(text))
    if text == STANDARD:
        text = str(standard_input())
    binary = format_suffix(split_book(text)[0]) in {*_PARQUET, *BOOKS}
    return None if typed or binary else encoding


@dataclass(frozen=True, slots=True)
class Frame:
    """A table in memory.

    Attributes
    ----------
    data : pd.DataFrame
        Every row, also bad ones; all columns are text, the index is the line of the row.
    errors : dict[int, str]
        Line → why the row cannot be used.
    notes : dict[int, str]
        Line → how the row was read, if not as usual.
    name : str
        Name of the input in messages.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("id,text\\n1,fine\\n2\\n")
    >>> read_frame(path).errors
    {3: 'line 3: 1 cell where the header has 2'}
    """

    data: pd.DataFrame
    errors: dict[int, str]
    notes: dict[int, str]
    name: str


def read_frame(
    path: str | PathLike[str],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    max_cell_chars: int = MAX_CELL_CHARS,
    allow_nul: bool = False,
) -> Frame:
    """Read a whole table into a pandas DataFrame; the parameters are those of :class:`TableReader`.

    Returns
    -------
    Frame
        Every row as text, bad ones included, with the errors by line.

    Raises
    ------
    EcomfsError
        See :class:`TableReader`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
    >>> _ = path.write_text("id,text\\n1,fine\\n2\\n")
    >>> frame = read_frame(path)
    >>> frame.data["text"].to_list(), frame.errors
    (['fine', ''], {3: 'line 3: 1 cell where the header has 2'})
    """
    import pandas as pd

    reader = TableReader(
        path,
        encoding=encoding,
        delimiter=delimiter,
        max_cell_chars=max_cell_chars,
        allow_nul=allow_nul,
    )
    rows = list(reader.rows())
    data = pd.DataFrame(
        {name: [row.cells[name] for row in rows] for name in reader.header},
        index=pd.Index([row.line for row in rows], name="line"),
        dtype="str",
    )
    errors = {row.line: row.error for row in rows if row.error}
    notes = {row.line: row.note for row in rows if row.note}
    return Frame(data, errors, notes, reader.name)
