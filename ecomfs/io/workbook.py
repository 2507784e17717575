"""A result as an Excel workbook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ecomfs.errors import OutputError
from ecomfs.io.files import optional_module
from ecomfs.io.target import Target, output_failure

MAX_CHARS = 32_767
"""Characters that fit into one cell."""
MAX_ROWS = 1_048_576
"""Rows that fit into a sheet, the header included."""
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_HINT = "write .csv or .parquet: rename the .journal after that output, and the run goes on"


class ExcelWriter:
    """A workbook of one sheet that appears under its name when it is complete.

    Cells are text, as in the input, so ``=1+1`` is no formula and ``007`` stays; columns in
    ``numbers`` are numbers. Characters that a workbook cannot hold (most control characters, lone
    surrogates) are written as ``\\x01`` escapes.

    Raises:
        ConfigError: openpyxl is not installed.
        OutputError: it cannot be written; a cell or the table is larger than a workbook can hold.
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
        self._target.finish(lambda: self._book.save(self._target.raw))

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""
        if not self._saved:
            self._sheet.close()  # else its half-written rows complain when they are collected
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


__all__ = ["ExcelWriter"]
