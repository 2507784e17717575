"""Writes tables in the format of their file name; a file is complete or does not exist."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self, cast

from ecomfs.errors import ConfigError, OutputError
from ecomfs.io.files import PACKED, format_suffix, optional_module, zstd_module
from ecomfs.io.sql_table import SqlTable, SqlTableWriter
from ecomfs.io.target import Target, output_failure
from ecomfs.io.text_tables import RARE_DELIMITERS, marks_written, safe_cell

OutputEncoding = Literal["utf-8", "utf-8-sig"]


def added_columns(header: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Names for columns added to ``header``; a name that is taken gets a suffix.

    Examples
    --------
    >>> added_columns(["id", "text", "label"], ["label", "confidence"])
    ('label_2', 'confidence')
    """
    taken, chosen = set(header), []
    for name in names:
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        chosen.append(free)
    return tuple(chosen)


_TOGETHER = 200
"""Records that are joined before they are written."""


class AtomicWriter:
    """Writes a CSV or TSV file that gets its name only when complete; a name that ends in ``.gz``
    or ``.zst`` gives a compressed file.

    Rows go to a temporary file in the same folder, which is renamed when the ``with`` block ends
    without an exception; for links, modes, pipes and ``-`` see :mod:`ecomfs.io.target`. After an
    exception, what was written is kept as ``<name>.partial``, the exception's notes say so, and an
    existing file of the final name is not changed.

    Cells are quoted where needed, rows end with a line feed, and :class:`ecomfs.io.TableReader`
    reads the same cells back. Unpaired surrogates, which UTF-8 cannot encode, become ``\\udXXX``
    escapes.

    Parameters
    ----------
    path : str | PathLike[str]
        The file.
    header : Sequence[str]
        Column names.
    encoding : OutputEncoding
        ``utf-8-sig`` writes the byte-order mark that Excel needs.
    delimiter : str
        One character.
    marked : Collection[str]
        Columns whose cells are marked if a spreadsheet would run them
        (:func:`ecomfs.io.safe_cell`). Inside :func:`ecomfs.io.safe_csv` all columns are.

    Raises
    ------
    ConfigError
        The name ends in ``.zst``, and the package for it is not installed.
    OutputError
        The folder does not exist or is read-only, the path is a folder or a database, or the disk
        is full.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "out.csv"
    >>> with AtomicWriter(path, ["id", "text"]) as out:
    ...     out.write([["1", 'so "good" '], ["2", ""]])
    >>> print(path.read_text(), end="")
    id,text
    1,"so ""good"" "
    2,
    """

    def __init__(
        self,
        path: str | PathLike[str],
        header: Sequence[str],
        *,
        encoding: OutputEncoding = "utf-8",
        delimiter: str = ",",
        marked: Collection[str] = (),
    ) -> None:
        self.path = Path(path)
        self._all_marked = marks_written.get()
        self._marked = [n for n, name in enumerate(header) if self._all_marked or name in marked]
        self.rows = 0
        self._width = len(header)
        self._delimiter = delimiter
        self._must_quote = re.compile(rf'[{re.escape(delimiter)}"\r\n]')
        self._target = Target(self.path)
        self._raw = self._target.raw
        packed, suffix = self._raw, self.path.suffix.lower()
        try:
            if suffix == ".gz":
                # Without name and time in the header, the same rows give the same bytes.
                named = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)
                packed = cast("BinaryIO", named)
            elif suffix in PACKED:
                packed = zstd_module("writing .zst files").ZstdFile(self._raw, "wb")
        except ConfigError:
            self._target.discard()
            raise
        self._file = io.TextIOWrapper(
            packed, encoding=encoding, errors="backslashreplace", newline=""
        )
        try:
            self._begin(header)
        except OutputError:
            self._keep()
            raise

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""
        records: list[str] = []
        try:
            for row in rows:
                if len(row) != self._width:
                    raise OutputError(
                        f"{self.path}: row {self.rows + len(records) + 1} has {len(row)} cells, "
                        f"the header has {self._width}"
                    )
                records.append(self._record(self._safe(row)))
                if len(records) == _TOGETHER:
                    self._put(records)
        finally:  # rows before a wrong one are written
            self._put(records)

    def flush(self) -> None:
        """Write everything to the disk, so that a crash cannot lose it."""
        try:
            self._file.flush()
            self._raw.flush()
            os.fsync(self._raw.fileno())
        except OSError as problem:
            raise self._failure(problem) from problem

    def commit(self) -> None:
        """Make the file appear under its name; the end of a ``with`` block does this."""

        def last() -> None:
            self._file.flush()
            if (inner := self._file.detach()) is not self._raw:
                inner.close()  # a packer writes its end

        self._target.publish(last)

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""
        # Writing the last buffer fails on a full disk; a detached file has none.
        with contextlib.suppress(OSError, ValueError):
            self._file.close()
        self._target.discard()

    @property
    def partial(self) -> Path:
        """Where rows are kept when writing fails."""
        return self._target.partial

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if problem is None:
            try:
                self.commit()
                return
            except OutputError as failure:
                problem = failure
                self._note(problem)
                raise
        self._note(problem)

    def _note(self, problem: BaseException) -> None:
        kept = self._keep()
        if kept is not None:
            problem.add_note(f"{self.rows} rows written so far are in {kept}")

    def _keep(self) -> Path | None:
        with contextlib.suppress(OSError, ValueError):
            self._file.close()
        return self._target.keep()

    def _safe(self, row: Sequence[str]) -> Sequence[str]:
        if not self._marked:
            return row
        cells = [*row]
        for place in self._marked:
            if cell := cells[place]:
                cells[place] = safe_cell(cell)
        return cells

    def _begin(self, header: Sequence[str]) -> None:
        if self._all_marked:
            header = self._safe(header)
        # A header with another delimiter, a byte-order mark or "sep=" would mislead readers, a
        # rare delimiter only if the header has no usual one.
        rare = "".join(RARE_DELIMITERS) if len(header) == 1 else ""
        misleading = rf'[{re.escape(rare)},;|\t"\r\n\ufeff]|^sep=|^ '
        self._put([self._record(header, re.compile(misleading, re.I))])
        self.rows = 0

    def _put(self, records: list[str]) -> None:
        """Write records and clear the list."""
        text, count = "".join(records), len(records)
        records.clear()
        try:
            self._file.write(text)
        except OSError as problem:
            raise self._failure(problem) from problem
        self.rows += count

    def _record(self, cells: Sequence[str], also: re.Pattern[str] | None = None) -> str:
        line = self._delimiter.join(cells)
        plain = not (also or '"' in line or "\n" in line or "\r" in line)
        if plain and line.count(self._delimiter) == len(cells) - 1:
            return (line or '""') + "\n"  # the usual case: no cell needs quotes
        quoted = (
            '"' + cell.replace('"', '""') + '"'
            if self._must_quote.search(cell) or (also and also.search(cell))
            else cell
            for cell in cells
        )
        # A single empty cell must be quoted: a blank line would not be a row.
        return (self._delimiter.join(quoted) or '""') + "\n"

    def _failure(self, problem: OSError) -> OutputError:
        return output_failure(self.path, problem)


class JsonLinesWriter(AtomicWriter):
    """Writes JSON Lines: one object per row, with keys in the order of the columns. Values are
    text; in the columns ``numbers`` they are numbers, or null for an empty cell.

    Raises:
        ConfigError, OutputError: see :class:`AtomicWriter`.
    """

    def __init__(
        self, path: str | PathLike[str], header: Sequence[str], *, numbers: Sequence[str] = ()
    ) -> None:
        self._names, self._numbers = tuple(header), frozenset(numbers)
        super().__init__(path, header)
        self._marked = []  # no spreadsheet runs text of JSON

    def _begin(self, header: Sequence[str]) -> None:
        """Write no header: every row names its columns."""

    def _record(self, cells: Sequence[str], also: re.Pattern[str] | None = None) -> str:
        values: dict[str, str | float | None] = dict(zip(self._names, cells, strict=True))
        for name in self._numbers:
            cell = values[name]
            values[name] = float(cell) if cell else None
        return json.dumps(values, ensure_ascii=False) + "\n"


GROUP_ROWS = 10_000


class ParquetWriter:
    """Writes a Parquet file. Columns are text; the columns ``numbers`` are float64, with null for
    an empty cell. ``commit`` and ``discard`` are those of :class:`ecomfs.io.AtomicWriter`.

    Raises:
        ConfigError: pyarrow is not installed.
        OutputError: it cannot be written.
    """

    def __init__(
        self, path: str | PathLike[str], header: Sequence[str], *, numbers: Sequence[str] = ()
    ) -> None:
        self.path = Path(path)
        self.rows = 0
        self._arrow: Any = optional_module("pyarrow", need="writing Parquet files")
        parquet: Any = optional_module("pyarrow.parquet", need="writing Parquet files")
        self._numbers = frozenset(numbers)
        kinds = [
            (name, self._arrow.float64() if name in self._numbers else self._arrow.string())
            for name in header
        ]
        self._schema = self._arrow.schema(kinds)
        self._buffer: list[Sequence[str]] = []
        self._target = Target(self.path)
        self._writer = parquet.ParquetWriter(self._target.raw, self._schema, compression="zstd")

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""
        for row in rows:
            if len(row) != len(self._schema):
                raise OutputError(
                    f"{self.path}: row {self.rows + len(self._buffer) + 1} has {len(row)} cells, "
                    f"the header has {len(self._schema)}"
                )
            self._buffer.append(row)
        if len(self._buffer) >= GROUP_ROWS:
            self._put()

    def commit(self) -> None:
        """Make the file appear under its name."""
        self._put()
        self._target.publish(self._writer.close)

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""
        with contextlib.suppress(OSError, ValueError, self._arrow.ArrowException):
            self._writer.close()
        self._target.discard()

    def _put(self) -> None:
        columns = list(zip(*self._buffer, strict=True)) or [()] * len(self._schema)
        table = self._arrow.table(
            [self._column(f.name, cells) for f, cells in zip(self._schema, columns, strict=True)],
            schema=self._schema,
        )
        try:
            self._writer.write_table(table)
        except OSError as problem:
            raise output_failure(self.path, problem) from problem
        self.rows += len(self._buffer)
        self._buffer = []

    def _column(self, name: str, cells: Sequence[str]) -> Any:
        if name in self._numbers:
            return self._arrow.array([float(c) if c else None for c in cells], "float64")
        # Unpaired surrogates are escaped as in a text file.
        safe = [c.encode("utf-8", "backslashreplace").decode() for c in cells]
        return self._arrow.array(safe, "string")


MAX_CHARS = 32_767
"""Characters that fit into one cell."""
MAX_ROWS = 1_048_576
"""Rows that fit into a sheet, the header included."""
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_HINT = "write .csv or .parquet; to resume the run, rename its .journal to match the new name"


class ExcelWriter:
    """Writes a workbook of one sheet, which gets its name when it is complete.

    Cells are text, as in the input, so that ``=1+1`` is not a formula and ``007`` is kept; the
    columns ``numbers`` are numbers. Characters that a workbook cannot hold (most control
    characters, unpaired surrogates) are written as escapes such as ``\\x01``.

    Raises:
        ConfigError: openpyxl is not installed.
        OutputError: the file cannot be written, or a cell or the table is too large for a workbook.
    """

    def __init__(
        self, path: str | PathLike[str], header: Sequence[str], *, numbers: Sequence[str] = ()
    ) -> None:
        self.path = Path(path)
        self.rows = 0
        excel: Any = optional_module("openpyxl", need="writing Excel files")
        self._cell: Any = optional_module("openpyxl.cell", need="writing Excel files").WriteOnlyCell
        self._header = list(header)
        self._numbers = frozenset(numbers)
        self._target = Target(self.path)
        self._saved = False
        self._book = excel.Workbook(write_only=True)  # rows go to a temporary file
        self._sheet = self._book.create_sheet("scored")
        self._sheet.append([self._text(name, name) for name in self._header])

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""
        for row in rows:
            if len(row) != len(self._header):
                raise OutputError(
                    f"{self.path}: row {self.rows + 1} has {len(row)} cells, "
                    f"the header has {len(self._header)}"
                )
            if self.rows + 2 > MAX_ROWS:
                raise OutputError(
                    f"{self.path}: a sheet holds {MAX_ROWS:,} rows, header included", hint=_HINT
                )
            try:
                self._sheet.append(
                    [
                        (float(cell) if cell else None)
                        if name in self._numbers
                        else self._text(cell, name)
                        for name, cell in zip(self._header, row, strict=True)
                    ]
                )
            except OSError as problem:
                raise output_failure(self.path, problem) from problem
            self.rows += 1

    def commit(self) -> None:
        """Make the file appear under its name."""
        self._saved = True
        self._target.publish(lambda: self._book.save(self._target.raw))

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""
        if not self._saved:
            self._sheet.close()  # else its incomplete rows warn when they are garbage-collected
            self._saved = True
        self._target.discard()

    def _text(self, cell: str, column: str) -> Any:
        if not cell:
            return None
        shown = _UNWRITABLE.sub(lambda m: m[0].encode("unicode_escape").decode(), cell)
        if len(shown) > MAX_CHARS:
            raise OutputError(
                f"{self.path}: row {self.rows + 2}, column {column!r}: {len(shown):,} characters; "
                f"a cell of a workbook holds {MAX_CHARS:,}",
                hint=_HINT,
            )
        made = self._cell(self._sheet, value=shown)
        made.data_type = "s"  # else "=…" becomes a formula, and "#N/A" an error
        return made


OutputFormat = Literal["csv", "tsv", "jsonl", "parquet", "xlsx"]
"""Format of an output; by default that of its file name."""
_FORMATS: dict[str, OutputFormat] = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}
_UNWRITTEN = {
    ".json": "use .jsonl, one object per line",
    ".xls": "use .xlsx",
    ".xlsm": "use .xlsx",
}


class TableWriter(Protocol):
    """Protocol of the writers of tables.

    Examples
    --------
    >>> [name for name in vars(TableWriter) if not name.startswith("_")]
    ['write', 'commit', 'discard']
    """

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""

    def commit(self) -> None:
        """Make the file appear under its name."""

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""


def open_writer(
    path: Path | SqlTable,
    header: Sequence[str],
    *,
    encoding: OutputEncoding = "utf-8",
    numbers: Sequence[str] = (),
    marked: Collection[str] = (),
    form: OutputFormat | None = None,
    kinds: Callable[[], Mapping[str, type]] = dict,
    replace: bool = False,
) -> TableWriter:
    """Open a writer for CSV, TSV or JSON Lines, compressed or not (``.gz``, ``.zst``), Parquet,
    Excel, or a database table.

    Parameters
    ----------
    path : Path or SqlTable
        The output.
    header : Sequence[str]
        Column names.
    encoding : OutputEncoding
        Encoding of a text file; ``utf-8-sig`` writes the byte-order mark that Excel needs.
    numbers : Sequence[str]
        Columns that are written as numbers if the format has numbers.
    marked : Collection[str]
        Columns whose cells are marked in CSV and TSV if a spreadsheet would run them; in the other
        formats a cell is always text.
    form : OutputFormat, optional
        The format, for names without a suffix, such as ``-``.
    kinds : callable
        For a database table: returns column → type of its values in the input.
    replace : bool
        Whether an existing database table may be replaced.

    Returns
    -------
    TableWriter
        A writer to use in a ``with`` block, or to end with ``commit`` or ``discard``.

    Raises
    ------
    ConfigError
        The format can be read but not written, or its package is not installed.
    OutputError
        The output cannot be written.

    Examples
    --------
    >>> check_output(Path("out.json"))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: out.json: .json is not written (use .jsonl, one object per line)
    """
    if isinstance(path, SqlTable):
        return SqlTableWriter(path, header, numbers=numbers, kinds=kinds, replace=replace)
    kind = check_output(path, form)
    if kind == "parquet":
        return ParquetWriter(path, header, numbers=numbers)
    if kind == "xlsx":
        return ExcelWriter(path, header, numbers=numbers)
    if kind == "jsonl":
        return JsonLinesWriter(path, header, numbers=numbers)
    delimiter = "\t" if kind == "tsv" else ","
    return AtomicWriter(path, header, encoding=encoding, delimiter=delimiter, marked=marked)


@contextmanager
def writing(
    path: str | PathLike[str], header: Sequence[str], *, marked: Collection[str] = ()
) -> Iterator[TableWriter]:
    """A writer for the format of a file name, for a ``with`` block: the file gets its name when the
    block ends without an exception.

    Parameters
    ----------
    path, header, marked
        As in :func:`open_writer`.

    Raises
    ------
    ConfigError, OutputError
        As in :func:`open_writer`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "pool.tsv"
    >>> with writing(path, ["text", "label"]) as out:
    ...     out.write([["fits well", "positive"]])
    >>> path.read_text()
    'text\\tlabel\\nfits well\\tpositive\\n'
    """
    writer = open_writer(Path(path), header, marked=marked)
    if isinstance(writer, AtomicWriter):  # it keeps what was written when the block fails
        with writer:
            yield writer
        return
    try:
        yield writer
        writer.commit()
    finally:
        writer.discard()


def check_output(path: Path, form: OutputFormat | None = None) -> OutputFormat:
    """The format of an output: ``form`` if given, else that of its name.

    Returns
    -------
    OutputFormat
        ``csv`` for names without a known suffix, such as ``-``.

    Raises
    ------
    ConfigError
        The format cannot be written or compressed, or differs from that of the name.

    Examples
    --------
    >>> check_output(Path("out.csv.gz")), check_output(Path("out.parquet"))
    ('csv', 'parquet')
    >>> check_output(Path("-"), "jsonl")
    'jsonl'
    """
    kind = format_suffix(path)
    if kind in _UNWRITTEN:
        raise ConfigError(f"{path}: {kind} is not written", hint=_UNWRITTEN[kind])
    named = _FORMATS.get(kind) or ("csv" if kind == ".csv" else None)
    if form is not None and named is not None and form != named:
        raise ConfigError(
            f"{path}: the name is that of {named}, but --output-format is {form}",
            hint="leave out one of them",
        )
    found = form or named or "csv"
    if found in ("parquet", "xlsx") and path.suffix.lower() in PACKED:
        raise ConfigError(
            f"{path}: {found} is compressed already", hint=f"leave {path.suffix} out of the name"
        )
    return found
