"""Typed formats as sources of rows: Excel, Parquet, Hugging Face data sets, SQL queries."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from ecomfs.core.messages import first_line, mask_passwords
from ecomfs.errors import ColumnError, ConfigError, EmptyInputError, InputError
from ecomfs.io.files import check_file, is_saved_folder, optional_module
from ecomfs.io.rows import Place, RawRow, Source, cell_text
from ecomfs.io.sql_table import SQL, ColumnKinds, opened_database

SHEET = "sheet"
"""Column with the name of the sheet, added when several sheets are read."""


class ExcelSource(Source):
    """Sheets of a workbook; the first row of a sheet with a value is its header.

    A formula gives the value that Excel stored for it. Rows without any value are skipped, and so
    are sheets that hold only a chart. Several sheets must have the same columns, in any order; they
    are read one after the other, and the column ``sheet`` gives the sheet of a row, unless they
    have a column of that name.

    Args:
        sheets: their names; ``*`` is all; the first sheet by default.

    Raises:
        InputError: the file is not a workbook, or has no sheet with cells.
        EmptyInputError: a sheet is empty.
        ColumnError: two sheets have different columns.
        ConfigError: no sheet of that name, or openpyxl is not installed.
    """

    def __init__(self, path: Path, *, sheets: Sequence[str] = ()) -> None:
        check_file(path)
        if path.suffix.lower() == ".xls":
            hint = "save it as .xlsx or CSV"
            raise InputError(f"{path.name}: the old .xls format is not supported", hint=hint)
        self._excel = optional_module("openpyxl", need="reading Excel files")
        self._path = path
        with self._open() as book:
            names = [sheet.title for sheet in book.worksheets]
            if not names:
                raise InputError(f"{path.name}: the workbook has no sheet with cells")
            self._sheets = self._named(names, sheets)
            others = [] if sheets else [n for n in names if n not in self._sheets]
        if others:
            self.note = (
                f"{path.name}: only the first sheet {self._sheets[0]!r} is read, not "
                f"{', '.join(map(repr, others))}"
            )
        headers: list[tuple[str, ...]] = []
        for sheet in self._sheets:
            first = next(self._rows(sheet), None)
            if first is None:
                called = f" {sheet!r}" if len(self._sheets) > 1 else ""
                raise EmptyInputError(f"{path.name}: the sheet{called} is empty")
            headers.append(tuple(_without_tail(first[1])))
        self._headers = headers
        self._columns = headers[0]
        for sheet, header in zip(self._sheets, headers, strict=True):
            if sorted(header) != sorted(self._columns):
                other = ", ".join(sorted(set(header) ^ set(self._columns))) or "one column twice"
                raise ColumnError(
                    f"{path.name}: sheets {self._sheets[0]!r} and {sheet!r} differ in columns: "
                    f"{other}",
                    hint="name sheets with the same columns, or score them one by one",
                )
        several = len(self._sheets) > 1 and SHEET not in self._columns
        self._tells_sheet = several
        self.header = (*self._columns, SHEET) if several else self._columns

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The rows below the header; ``line`` is the row number that Excel shows."""
        width = len(self._columns)
        for sheet, header in zip(self._sheets, self._headers, strict=True):
            order = _order(header, self._columns)
            moved = order != sorted(order)
            for index, (number, cells) in enumerate(self._rows(sheet)):
                if index:
                    padded = cells + [""] * (width - len(cells))
                    own = [padded[i] for i in order] if moved else padded[:width]
                    extra = _without_tail(padded[width:])
                    yield RawRow(number, [*own, *([sheet] if self._tells_sheet else []), *extra])

    def _named(self, names: list[str], wanted: Sequence[str]) -> tuple[str, ...]:
        if not wanted:
            return (names[0],)
        if "*" in wanted:
            return tuple(names)
        for name in wanted:
            if name not in names:
                raise ConfigError(
                    f"{self._path.name}: no sheet {name!r}", hint=f"sheets are: {', '.join(names)}"
                )
        return tuple(dict.fromkeys(wanted))

    def _rows(self, sheet: str) -> Iterator[tuple[int, list[str]]]:
        with self._open() as book:
            cells = book[sheet]
            # Some programs write a wrong size, such as A1 for every sheet; openpyxl would stop
            # there, and the rows and columns beyond would be lost.
            cells.reset_dimensions()
            try:
                for number, values in enumerate(cells.iter_rows(values_only=True), 1):
                    if any(value is not None for value in values):
                        yield number, [cell_text(value) for value in values]
            except Exception as problem:  # of the reader of XML, of numbers, of dates, …
                raise self._damaged(problem) from problem

    @contextmanager
    def _open(self) -> Iterator[Any]:
        _check_size(self._path)
        try:
            book = self._excel.load_workbook(self._path, read_only=True, data_only=True)
        except (BadZipFile, KeyError, OSError) as problem:
            raise InputError(f"{self._path.name}: this is not an Excel workbook") from problem
        except Exception as problem:  # openpyxl checks little, and fails in many ways
            raise self._damaged(problem) from problem
        try:
            yield book
        finally:
            book.close()

    def _damaged(self, problem: Exception) -> InputError:
        return InputError(
            f"{self._path.name}: cannot be read as an Excel workbook: {first_line(problem)}",
            hint="open it in a spreadsheet and save it again, or save it as CSV",
        )


_MOST_TEXTS = 2**30
_MOST_PACKED, _ALWAYS_READ = 200, 100 * 2**20


def _check_size(path: Path) -> None:
    """Refuse a small file that would be huge once it is decompressed.

    Raises:
        InputError: its compression ratio is far beyond that of any table.
    """
    try:
        with ZipFile(path) as packed:
            parts = packed.infolist()
    except (BadZipFile, OSError):
        return  # the reader reports the error
    whole, small = sum(p.file_size for p in parts), sum(p.compress_size for p in parts)
    texts = sum(p.file_size for p in parts if p.filename.endswith("sharedStrings.xml"))
    if texts > _MOST_TEXTS or (whole > _ALWAYS_READ and whole > _MOST_PACKED * small):
        raise InputError(
            f"{path.name}: {small:,} bytes decompress to {whole:,}: no spreadsheet writes such a "
            "table",
            hint="save it as CSV",
        )


def _order(header: Sequence[str], columns: Sequence[str]) -> list[int]:
    """The place of each column in a header; of several with one name, in their order.

    >>> _order(["text", "", "label", ""], ["", "text", "", "label"])
    [1, 0, 3, 2]
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(header):
        places.setdefault(name, []).append(place)
    return [places[name].pop(0) for name in columns]


def _without_tail(cells: list[str]) -> list[str]:
    """The cells without empty ones at the end, which formatting leaves behind."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


BATCH_ROWS = 1000


class ParquetSource(Source):
    """A Parquet file; ``line`` of a row is its number, counted from 1.

    Raises:
        InputError: it is not a Parquet file, or it is damaged.
        ConfigError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self._arrow = optional_module("pyarrow", need="reading Parquet files")
        self._parquet = optional_module("pyarrow.parquet", need="reading Parquet files")
        self._path = path
        try:
            with self._parquet.ParquetFile(path) as file:
                names, self.size = tuple(file.schema_arrow.names), file.metadata.num_rows
        except (self._arrow.ArrowException, OSError) as problem:
            raise self._damaged(problem) from problem
        if not names:
            raise EmptyInputError(f"{path.name}: the file has no columns")
        self.header = names

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The rows in order."""
        number = 0
        try:
            with self._parquet.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    bad: dict[int, str] = {}
                    columns = [
                        _values(column, name, bad)
                        for name, column in zip(self.header, batch.columns, strict=True)
                    ]
                    for offset, values in enumerate(zip(*columns, strict=True)):
                        number += 1
                        cells = [cell_text(value) for value in values]
                        yield RawRow(number, cells, bad.get(offset, ""), end=number)
        except (self._arrow.ArrowException, OSError) as problem:
            raise self._damaged(problem) from problem

    def _damaged(self, problem: Exception) -> InputError:
        reason = first_line(problem)
        return InputError(f"{self._path.name}: cannot be read as Parquet: {reason}")


def _values(column: Any, name: str, bad: dict[int, str]) -> list[Any]:
    """The values of a column as Python values. Floats of fewer than 64 bits get their shortest
    decimal form: 0.1 in 32 bits is 0.1, as in a CSV file, and not 0.10000000149011612.

    A value that Python does not have, such as a date after the year 9999, becomes text; where that
    fails (bytes that are not UTF-8), the error of its row goes into ``bad``, by its position.
    """
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        return [_value(scalar, name, bad, place) for place, scalar in enumerate(column)]
    if str(column.type) not in {"float", "halffloat"}:
        return values
    import numpy as np

    kind = np.float32 if str(column.type) == "float" else np.float16
    return [None if value is None else float(str(kind(value))) for value in values]


def _value(scalar: Any, name: str, bad: dict[int, str], place: int) -> Any:
    """One value of :func:`_values`."""
    for read in (scalar.as_py, lambda: scalar.cast("string").as_py()):
        try:
            return read()
        except (ValueError, OverflowError, NotImplementedError) as problem:
            reason = first_line(problem)
    bad.setdefault(place, f"column {name!r} cannot be read: {reason}")
    return bytes(scalar.as_buffer()) if hasattr(scalar, "as_buffer") else None


HUB = "hf:"


class HubSource(Source):
    """``hf:NAME[#CONFIG][@SPLIT]`` where NAME is a hub id or a saved folder.

    A hub data set is streamed, not downloaded whole. Class labels are given by name. The split
    may be left out if there is only one.

    Raises:
        InputError: the data set cannot be loaded (no such id, no network).
        ConfigError: a split must be named, or ``datasets`` is not installed.
    """

    def __init__(self, spec: str) -> None:
        name, _, split = spec.removeprefix(HUB).partition("@")
        name, _, config = name.partition("#")
        library = optional_module("datasets", need="reading Hugging Face data sets")
        try:
            if is_saved_folder(Path(name)):
                loaded = library.load_from_disk(name)
            else:
                loaded = library.load_dataset(name, config or None, streaming=True)
        except Exception as problem:  # each back end of the library raises its own errors
            raise InputError(
                f"{spec}: cannot be loaded: {first_line(problem)}",
                hint="check the id and the network, or save it to a folder first",
            ) from problem
        self._data = _split(spec, loaded, split)
        features = self._data.features or {}
        self._names = {
            column: feature.names
            for column, feature in features.items()
            if isinstance(feature, library.ClassLabel)
        }
        header = tuple(features) or tuple(next(iter(self._data), {}))
        if not header:
            raise EmptyInputError(f"{spec}: the data set has no columns")
        self.header = header
        self.size = getattr(self._data, "num_rows", None)

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The rows in order; ``line`` is the row's number, counted from 1."""
        for number, row in enumerate(self._data, 1):
            cells = [cell_text(self._named(name, row.get(name))) for name in self.header]
            yield RawRow(number, cells, end=number)

    def _named(self, column: str, value: Any) -> Any:
        names = self._names.get(column)
        if not names or not isinstance(value, int):
            return value
        if value == -1:  # what the library writes where a row has no label
            return None
        return names[value] if 0 <= value < len(names) else value


def _split(spec: str, loaded: Any, split: str) -> Any:
    if not isinstance(loaded, dict):
        if split:
            raise ConfigError(f"{spec}: the data set has no splits", hint=f"leave @{split} out")
        return loaded
    names = list(loaded)
    if not split and len(names) == 1:
        return loaded[names[0]]
    if split not in names:
        base = spec.partition("@")[0]
        hint = "name one: " + ", ".join(f"{base}@{name}" for name in names)
        reason = f"no split {split!r}" if split else "it has several splits"
        raise ConfigError(f"{spec}: {reason}", hint=hint)
    return loaded[split]


FETCH_ROWS = 1000
_PARAMETER = re.compile(r"(?<![:\w\\]):\w+(?![:\w])")
"""What SQLAlchemy takes for a parameter, also inside quotes; a query has none."""
_READ_ONLY = {  # PostgreSQL has an execution option
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


class SqlSource(Source):
    """``sql:URL#QUERY``, such as ``sql:sqlite:///shop.db#SELECT id, text FROM reviews``.

    Only a query that reads is accepted (SELECT, WITH, VALUES, TABLE), on a connection that is set
    to read-only if the database has such a setting (SQLite, DuckDB, PostgreSQL, MySQL), and always
    rolled back. The query runs again for every pass: give it an ORDER BY if the order matters. Rows
    are streamed if the driver can do so.

    Raises:
        ConfigError: the query is missing or is not a reading one, or the URL is not valid.
        InputError: the database refuses the query; passwords are masked in the message.
    """

    def __init__(self, spec: str) -> None:
        url, _, query = spec.removeprefix(SQL).partition("#")
        query = query.strip().rstrip(";")
        if not re.match(r"(?i)(select|with|values|table)\b", query):
            hint = "write sql:URL#SELECT ..., for example sql:sqlite:///shop.db#SELECT * FROM t"
            raise ConfigError("a SQL input needs a query that reads", hint=hint)
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            self._url = make_url(url)
        except ArgumentError as problem:
            raise ConfigError("the part before # is not a database URL") from problem
        self.name = mask_passwords(f"{SQL}{self._url.render_as_string(hide_password=True)}")
        self._query = query
        with self._result() as (names, _):
            self.header = names
        self._kinds = ColumnKinds(self.header)
        if not self.header:
            raise EmptyInputError(f"{self.name}: the query gives no columns")

    def records(self, place: Place | None = None) -> Generator[RawRow]:
        """The rows; ``line`` is the row's number, counted from 1."""
        with self._result() as (_, rows):
            for number, row in enumerate(rows, 1):
                self._kinds.add(row)
                yield RawRow(number, [cell_text(value) for value in row])

    @property
    def kinds(self) -> Mapping[str, type]:
        """Column → the type of the values read so far."""
        return self._kinds.found()

    @contextmanager
    def _result(self) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[object, ...]]]]:
        from sqlalchemy import text

        backend = self._url.get_backend_name()
        if backend in ("sqlite", "duckdb") and self._missing_file():
            raise InputError(f"{self.name}: no such database file")
        readonly = {"read_only": True} if backend == "duckdb" else {}
        options = {"yield_per": FETCH_ROWS, "postgresql_readonly": True}
        with (
            opened_database(self._url, self.name, InputError, connect_args=readonly) as engine,
            engine.connect().execution_options(**options) as connection,
        ):
            if setting := _READ_ONLY.get(backend):
                connection.execute(text(setting))
            with connection.execute(text(_PARAMETER.sub(r"\\\g<0>", self._query))) as result:
                yield tuple(result.keys()), (tuple(row) for row in result)

    def _missing_file(self) -> bool:
        """Whether the database file is missing. SQLite would create it, and a mistyped name would
        look like an empty database."""
        name = self._url.database
        memory = not name or name == ":memory:" or name.startswith("file:")
        return not memory and not Path(str(name)).is_file()
