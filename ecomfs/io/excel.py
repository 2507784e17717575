"""Excel workbooks (.xlsx), streamed with openpyxl."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from ecomfs.errors import ConfigError, EmptyInputError, InputError
from ecomfs.io.cells import cell_text
from ecomfs.io.files import check_file
from ecomfs.io.rows import Record
from ecomfs.io.source import TypedSource
from ecomfs.io.table_optional import optional_module


class ExcelSource(TypedSource):
    """One sheet of a workbook; the first row with a value is the header.

    Formulas count with the value last computed. Rows without any value are no rows.

    Args:
        sheet: its name; the first sheet by default.

    Raises:
        InputError: it is not such a workbook.
        EmptyInputError: the sheet is empty.
        ConfigError: no sheet of that name, or openpyxl is not installed.
    """

    def __init__(self, path: Path, *, sheet: str | None = None) -> None:
        check_file(path)
        if path.suffix.lower() == ".xls":
            hint = "save it as .xlsx or CSV"
            raise InputError(f"{path.name}: the old .xls format is not read", hint=hint)
        self._excel = optional_module("openpyxl", need="reading Excel files")
        self._path = path
        self._sheet = sheet
        first = next(self._rows(), None)
        if first is None:
            raise EmptyInputError(f"{path.name}: the sheet is empty")
        super().__init__(tuple(_without_tail(first[1])))

    def records(self) -> Generator[Record]:
        """The rows below the header; ``line`` is the row number that Excel shows."""
        width = len(self.header)
        for index, (number, cells) in enumerate(self._rows()):
            if index:
                padded = cells + [""] * (width - len(cells))
                yield Record(number, [*padded[:width], *_without_tail(padded[width:])])

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with self._open() as sheet:
            for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
                if any(value is not None for value in values):
                    yield number, [cell_text(value) for value in values]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            book = self._excel.load_workbook(self._path, read_only=True, data_only=True)
        except (BadZipFile, KeyError, OSError, ValueError) as problem:
            raise InputError(f"{self._path.name}: this is not an Excel workbook") from problem
        try:
            if self._sheet is None:
                yield book.worksheets[0]
            elif self._sheet in book.sheetnames:
                yield book[self._sheet]
            else:
                names = ", ".join(book.sheetnames)
                raise ConfigError(
                    f"{self._path.name}: no sheet {self._sheet!r}", hint=f"sheets are: {names}"
                )
        finally:
            book.close()


def _without_tail(cells: list[str]) -> list[str]:
    """Without the empty cells at the end that formatting leaves behind."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]
