"""Results as Excel workbooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs.errors import OutputError
from ecomfs.io import TableReader
from ecomfs.io.writer import MAX_CHARS, ExcelWriter

pytest.importorskip("openpyxl")


def test_cells_are_text_and_chosen_columns_numbers(tmp_path: Path) -> None:
    path = tmp_path / "out.xlsx"
    writer = ExcelWriter(path, ["id", "text", "p"], numbers=["p"])
    writer.write([["007", "=1+1", "0.25"], ["8", "#N/A", ""], ["9", "bell \x07", "1"]])
    assert not path.exists()  # it appears when it is whole
    writer.commit()
    rows = [row.cells for row in TableReader(path).rows()]
    assert [row["id"] for row in rows] == ["007", "8", "9"]
    assert [row["text"] for row in rows] == ["=1+1", "#N/A", r"bell \x07"]
    assert [row["p"] for row in rows] == ["0.25", "", "1"]


def test_cells_that_do_not_fit_are_named_and_no_file_is_left(tmp_path: Path) -> None:
    writer = ExcelWriter(tmp_path / "out.xlsx", ["id", "text"])
    with pytest.raises(OutputError, match="row 1 has 1 cells, the header has 2"):
        writer.write([["1"]])
    with pytest.raises(OutputError, match=r"row 2, column 'text': 32,768 characters"):
        writer.write([["1", "x" * (MAX_CHARS + 1)]])
    writer.discard()
    assert list(tmp_path.iterdir()) == []
