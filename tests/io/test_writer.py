"""Writing: complete or absent, and equal when read back."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecomfs.errors import OutputError
from ecomfs.io import AtomicWriter, TableReader, added_columns, open_writer, writing

unicode_cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        ' "quoted" ',
        "two\nlines",
        "\r",
        "\r\n",
        "ＦＵＬＬ，",
        "😀👨‍👩‍👧",
        "\ufeff",
        "\\",
        '\\"',
        "a,b;c|d\te",
        "\0",
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = st.lists(unicode_cells, min_size=1, max_size=4, unique=True)
    header = draw(names.filter(lambda cells: any(c.strip() for c in cells)))  # blank is empty
    row = st.lists(unicode_cells, min_size=len(header), max_size=len(header))
    return header, draw(st.lists(row, min_size=1, max_size=8))


@settings(deadline=None)
@given(tables(), st.sampled_from(["utf-8", "utf-8-sig"]), st.sampled_from([",", "\t", ";", "|"]))
def test_written_tables_read_back_equal(
    data: tuple[list[str], list[list[str]]], encoding: str, delimiter: str
) -> None:
    header, rows = data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.csv"
        with AtomicWriter(path, header, encoding=encoding, delimiter=delimiter) as out:  # type: ignore[arg-type]
            out.write(rows)
        reader = TableReader(path, delimiter=delimiter)
        assert list(reader.header) == header
        assert [list(row.cells.values()) for row in reader.rows()] == rows
        # Another reader agrees. It is given the encoding, so the byte-order mark does not matter.
        with path.open(encoding=encoding, newline="") as stream:
            assert list(csv.reader(stream, delimiter=delimiter, strict=True)) == [header, *rows]


@settings(deadline=None)
@given(tables())
@example((["", "\0", "\x0000"], [["", "", ""]]))  # zero bytes, and not UTF-16
@example((["\0", "\x000"], [["", ""]]))
@example((["&"], [["&"]]))  # one column, and no delimiter
def test_the_default_dialect_is_found_again(data: tuple[list[str], list[list[str]]]) -> None:
    header, rows = data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.csv"
        with AtomicWriter(path, header) as out:
            out.write(rows)
        reader = TableReader(path)
        assert reader.dialect.delimiter == ","
        assert [list(row.cells.values()) for row in reader.rows()] == rows


def test_nothing_is_there_until_the_end_and_old_content_survives(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with AtomicWriter(path, ["id"]) as out:
        out.write([["1"]])
        out.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "id\n1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_failure_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail() -> None:
        with AtomicWriter(path, ["id"]) as out:
            out.write([["1"], ["2"]])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert path.read_text() == "old"
    partial = tmp_path / "out.csv.partial"
    assert partial.read_text() == "id\n1\n2\n"
    assert caught.value.__notes__ == [f"2 rows written so far are in {partial}"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.csv.partial"]


def test_a_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OutputError, match="the disk is full"):
        _write_to(full, tmp_path)


def _write_to(device: Path, folder: Path) -> None:
    """Writes through a temporary file that is the device, as a full disk would behave."""
    out = AtomicWriter(folder / "out.csv", ["id"])
    with device.open("w") as full:
        out._file.close()
        out._file = full
        with out:
            out.write([["x" * 100_000]])


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"its folder does not exist .*mkdir -p"):
        AtomicWriter(tmp_path / "no" / "out.csv", ["id"])
    with pytest.raises(OutputError, match="this is a folder"):
        AtomicWriter(tmp_path, ["id"])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="its folder does not exist"):
        AtomicWriter(tmp_path / "file" / "out.csv", ["id"])


def test_a_row_of_another_width_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="row 1 has 2 cells, the header has 1"),
        AtomicWriter(tmp_path / "out.csv", ["id"]) as out,
    ):
        out.write([["1", "2"]])


def test_lone_surrogates_are_escaped(tmp_path: Path) -> None:
    with AtomicWriter(tmp_path / "out.csv", ["id"]) as out:
        out.write([["\ud83d"]])
    assert (tmp_path / "out.csv").read_text() == "id\n\\ud83d\n"


def test_added_columns_never_collide() -> None:
    assert added_columns(["label", "label_2"], ["label", "label", "status"]) == (
        "label_3",
        "label_4",
        "status",
    )


@settings(deadline=None)
@given(tables())
def test_a_parquet_file_holds_the_same_cells_and_is_whole_or_absent(
    data: tuple[list[str], list[list[str]]],
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the formats extra")
    header, rows = data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.parquet"
        out = open_writer(path, header)
        out.write(rows)
        assert list(Path(folder).glob("*.parquet")) == []
        out.commit()
        out.discard()  # does nothing any more
        assert [list(row.values()) for row in parquet.read_table(path).to_pylist()] == rows
        assert out.rows == len(rows)
        given_up = open_writer(Path(folder) / "other.parquet", header)
        given_up.write(rows)
        given_up.discard()
        assert [p.name for p in Path(folder).iterdir()] == ["out.parquet"]


def test_numbers_of_a_parquet_file_are_numbers_and_empty_ones_are_null(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the formats extra")
    out = open_writer(tmp_path / "o.parquet", ["id", "p"], numbers=["p"])
    out.write([["007", "0.25"], ["\ud800", ""]])
    out.commit()
    table = parquet.read_table(tmp_path / "o.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "double"]
    assert table.to_pylist() == [{"id": "007", "p": 0.25}, {"id": "\\ud800", "p": None}]


@settings(deadline=None, max_examples=40)
@given(tables())
def test_json_lines_and_workbooks_read_back_equal(data: tuple[list[str], list[list[str]]]) -> None:
    pytest.importorskip("openpyxl", reason="needs the formats extra")
    header, rows = data
    with tempfile.TemporaryDirectory() as folder:
        for name in ("out.jsonl", "out.xlsx"):
            path = Path(folder) / name
            out = open_writer(path, header)
            out.write(rows)
            assert not path.exists()
            out.commit()
            out.discard()  # does nothing any more
        lines = (Path(folder) / "out.jsonl").read_text("utf-8").split("\n")[:-1]
        assert [list(json.loads(line).values()) for line in lines] == rows
        assert all(list(json.loads(line)) == header for line in lines)
        assert sorted(p.name for p in Path(folder).iterdir()) == ["out.jsonl", "out.xlsx"]


def test_a_workbook_holds_texts_as_texts_and_numbers_as_numbers(tmp_path: Path) -> None:
    excel = pytest.importorskip("openpyxl", reason="needs the formats extra")
    out = open_writer(tmp_path / "o.xlsx", ["id", "p"], numbers=["p"])
    cells = ["007", "=1+1", "#N/A", "+49 30", "a\tb\nc", "\x01\ud800"]
    out.write([cell, "0.25"] for cell in cells)
    out.write([["", "0.5"], ["last", ""]])
    out.commit()
    sheet = excel.load_workbook(tmp_path / "o.xlsx").active
    read = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    assert [row[0] for row in read] == [*cells[:-1], "\\x01\\ud800", None, "last"]
    assert [row[1] for row in read] == [*[0.25] * len(cells), 0.5, None]
    assert {cell.data_type for cell in sheet["A"][1:-2]} <= {"s", "inlineStr"}  # no formula


def test_tables_too_large_for_a_workbook_are_refused_and_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openpyxl", reason="needs the formats extra")
    out = open_writer(tmp_path / "o.xlsx", ["id", "text"])
    with pytest.raises(OutputError, match=r"row 2, column 'text': 32,768 characters"):
        out.write([["1", "x" * 32_768]])
    out.discard()
    monkeypatch.setattr("ecomfs.io.writer.MAX_ROWS", 3)
    out = open_writer(tmp_path / "o.xlsx", ["id"])
    out.write([["1"], ["2"]])
    with pytest.raises(OutputError, match="a sheet holds 3 rows, header included"):
        out.write([["3"]])
    out.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "jsonl", "parquet", "xlsx"])
def test_a_table_has_the_format_of_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    with writing(path, ["id", "text"]) as out:
        out.write([["007", "fits, well"], ["8", ""]])
        assert not path.exists()
    read = [tuple(row.cells.values()) for row in TableReader(path).rows()]
    assert read == [("007", "fits, well"), ("8", "")]
    with pytest.raises(OutputError, match="cells"), writing(path, ["id", "text"]) as out:
        out.write([["1", "x"], ["2"]])
    assert [tuple(row.cells.values()) for row in TableReader(path).rows()] == read
    assert not list(tmp_path.glob("*.tmp"))
