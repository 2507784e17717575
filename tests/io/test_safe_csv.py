"""Cells that a spreadsheet would run as formulas: escaped when written, equal when read again."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecomfs.io import AtomicWriter, TableReader, open_writer, plain_cell, safe_cell, safe_csv

RUN = ["=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1+1"]
RUN += ["＋1+1", "－1+1", "＠sum", "\ufeff=1", '=HYPERLINK("http://x","y")']
CALM = ["", "fits", "-5", "+3.5", "-1,000.00", "1e-3", "-12%", "-", "+", "=", "@", "'tis", "a=b"]
cells = st.one_of(st.text(), st.text("'=+-@ \t\r\n0.5,;＝\ufeff\"", max_size=8))


@pytest.mark.parametrize("cell", RUN)
def test_formula_cells_get_an_apostrophe(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"
    assert plain_cell(f"'{cell}") == cell


@pytest.mark.parametrize("cell", CALM)
def test_numbers_signs_and_texts_stay(cell: str) -> None:
    assert safe_cell(cell) == plain_cell(cell) == cell


@given(cells)
@example("'")
@example("''=")
@example("'-5")
def test_unescaping_is_exact(cell: str) -> None:
    marked = safe_cell(cell)
    assert plain_cell(marked) == cell
    begins = marked.strip("\ufeff \t\r\n")[:1]
    calm = marked.strip()[1:] == "" or safe_cell(marked.strip()) == marked.strip()
    assert begins not in tuple("=+-@＝＋－＠") or calm


@settings(max_examples=30)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from(["csv", "tsv"]))
def test_tables_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str
) -> None:
    rows = [(a.replace("\0", ""), b.replace("\0", "")) for a, b in rows]
    rows = [tuple(c.encode("utf-8", "replace").decode() for c in row) for row in rows]  # type: ignore[misc]
    path = tmp_path_factory.mktemp("safe") / f"out.{end}"
    header = ["=id", "text"]
    with safe_csv(written=True):
        out = open_writer(path, header)
        out.write([*rows, ("a", "b")])
        out.commit()
    with safe_csv(read=True):
        reader = TableReader(path, encoding="utf-8")
        assert list(reader.header) == header
        assert [tuple(r.cells.values()) for r in reader.rows()] == [*rows, ("a", "b")]


def test_an_apostrophe_before_a_line_end_comes_back() -> None:
    for text in ("'\r", "'\n", "'", "-", "' =1"):
        assert plain_cell(safe_cell(text)) == text


def test_only_named_columns_are_marked_unless_all_are(tmp_path: Path) -> None:
    with AtomicWriter(tmp_path / "a.csv", ["text", "label"], marked=["label"]) as out:
        out.write([["=1+1", "=x"]])
    assert (tmp_path / "a.csv").read_text() == "text,label\n=1+1,'=x\n"
    with safe_csv(written=True), AtomicWriter(tmp_path / "b.csv", ["=text"]) as out:
        out.write([["=1+1"]])
    assert (tmp_path / "b.csv").read_text() == "\"'=text\"\n'=1+1\n"


def test_formats_that_know_text_are_not_marked(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.parquet", "a.xlsx"):
        with safe_csv(written=True):
            out = open_writer(tmp_path / name, ["text"], marked=["text"])
            out.write([["=1+1"]])
            out.commit()
        with safe_csv(read=True):
            assert [r.cells["text"] for r in TableReader(tmp_path / name).rows()] == ["=1+1"]


def test_a_spreadsheet_reads_no_formula(tmp_path: Path) -> None:
    """By Python's reader of CSV: no cell of a file that is all hostile begins a formula."""
    with safe_csv(written=True), AtomicWriter(tmp_path / "a.csv", ["text", "more"]) as out:
        out.write([[cell, cell] for cell in RUN])
    text = (tmp_path / "a.csv").read_bytes().decode()
    found = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert len(found) == 2 * (len(RUN) + 1)
    assert not [cell for cell in found if cell.lstrip("\ufeff \t\r\n")[:1] in "=+-@＝＋－＠"]
