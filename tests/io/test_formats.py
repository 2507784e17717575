"""Every format gives the same rows, or an error with the reason."""

from __future__ import annotations

import datetime as dt
import json
import math
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecomfs.errors import (
    ColumnError,
    ConfigError,
    EmptyInputError,
    InputError,
    MissingFileError,
)
from ecomfs.io import TableReader, read_frame

HEADER = ["id", "text", "price"]
ROWS = [["1", '好, "评"', "12.5"], ["2", "two\nlines", ""], ["3", "😀", "7"]]
RECORDS = [
    {"id": 1, "text": '好, "评"', "price": 12.5},
    {"id": 2, "text": "two\nlines", "price": None},
    {"id": 3, "text": "😀", "price": 7.0},
]
CSV = 'id,text,price\n1,"好, ""评""",12.5\n2,"two\nlines",\n3,😀,7\n'


def needs(module: str) -> Any:
    """A package of the ``formats`` extra; the test is skipped where it is not installed."""
    return pytest.importorskip(module, reason="needs the formats extra")


def write_parquet(records: list[dict[str, Any]], path: Path) -> None:
    table = needs("pyarrow").Table.from_pylist(records)
    needs("pyarrow.parquet").write_table(table, path)


def zst(data: bytes) -> bytes:
    module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    packed: bytes = needs(module).compress(data)
    return packed


def _csv_zst(folder: Path) -> str:
    path = folder / "in.csv.zst"
    path.write_bytes(zst(CSV.encode()))
    return str(path)


def _jsonl(folder: Path) -> str:
    path = folder / "in.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in RECORDS))
    return str(path)


def _json(folder: Path) -> str:
    path = folder / "in.json"
    path.write_text(json.dumps(RECORDS, ensure_ascii=False), encoding="utf-16")
    return str(path)


def _json_lines_called_json(folder: Path) -> str:
    return str(Path(_jsonl(folder)).rename(folder / "in.json"))


def _parquet(folder: Path) -> str:
    path = folder / "in.parquet"
    write_parquet(RECORDS, path)
    return str(path)


def _excel(folder: Path) -> str:
    book = needs("openpyxl").Workbook()
    book.create_sheet("Reviews")
    for row in [HEADER, *[list(r.values()) for r in RECORDS]]:
        book["Reviews"].append(row)
    book.save(folder / "in.xlsx")
    return f"{folder / 'in.xlsx'}#Reviews"


def _saved(folder: Path) -> str:
    needs("datasets").Dataset.from_list(RECORDS).save_to_disk(folder / "saved")
    return str(folder / "saved")


def _sql(folder: Path) -> str:
    with sqlite3.connect(folder / "shop.db") as db:
        db.execute("create table r (id integer, text text, price real)")
        db.executemany("insert into r values (:id, :text, :price)", RECORDS)
    db.close()
    return f"sql:sqlite:///{folder / 'shop.db'}#select * from r order by id"


MAKERS = [_csv_zst, _jsonl, _json, _json_lines_called_json, _parquet, _excel, _saved, _sql]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.strip("_"))
def test_every_format_gives_the_same_rows(make: Callable[[Path], str], tmp_path: Path) -> None:
    reader = TableReader(make(tmp_path), chunk_rows=2)
    assert list(reader.header) == HEADER
    for _ in range(2):  # a second pass starts again
        chunks = list(reader)
        assert [len(c) for c in chunks] == [2, 1]
        rows = [row for chunk in chunks for row in chunk]
        assert [list(row.cells.values()) for row in rows] == ROWS
        assert not any(row.error for row in rows)


def test_values_become_text_the_same_way_everywhere(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "flag": True,
        "day": dt.date(2024, 5, 1),
        "at": dt.datetime(2024, 5, 1, 9, 30),
        "many": ["a", "好"],
        "nested": {"x": [1, None]},
        "big": 12345678901234567,
    }
    write_parquet([values], tmp_path / "x.parquet")
    (row,) = TableReader(tmp_path / "x.parquet").rows()
    assert dict(row.cells) == {
        "flag": "true",
        "day": "2024-05-01",
        "at": "2024-05-01 09:30:00",
        "many": '["a", "好"]',
        "nested": '{"x": [1, null]}',
        "big": "12345678901234567",
    }


def test_a_line_that_is_not_an_object_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b'{"id": 1}\n{"id": 2\n[3]\n\n{"id": 4, "new": "x"}\n{"id": "\xe9"}\n{"id": "a\\u0000"}\n'
        + b'{"id": 8}\n' * 100
    )
    rows = list(TableReader(path).rows())
    assert [(row.line, row.error) for row in rows[:6]] == [
        (1, ""),
        (2, "line 2: not JSON at column 9"),
        (3, "line 3: not a JSON object"),
        (5, ""),
        (6, "line 6: byte E9 at position 9 of the line is not valid utf-8"),
        (7, "line 7: column 'id' holds a NUL character"),
    ]
    assert dict(rows[1].cells) == {"id": '{"id": 2', "new": ""}


def test_keys_that_come_late_are_kept_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": 1}\n' * 1000 + '{"id": 2, "late": "x"}\n')
    *_, last = TableReader(path).rows()
    assert (last.error, last.note, last.extra) == (
        "",
        "keys beyond the header: late",
        ('{"late": "x"}',),
    )


PACKAGES = {"x.parquet": "pyarrow", "x.xlsx": "openpyxl"}


@pytest.mark.parametrize(
    ("name", "content", "problem", "message"),
    [
        ("x.jsonl", "", EmptyInputError, "no JSON object"),
        ("x.jsonl", "[1]\n[2]\n", EmptyInputError, "no JSON object"),
        ("x.json", "[1, 2", InputError, "not JSON at line 1, column 6"),
        ("x.json", "[]", EmptyInputError, "no JSON object"),
        ("x.parquet", "id,text", InputError, "cannot be read as Parquet"),
        ("x.xlsx", "id,text", InputError, "not an Excel workbook"),
        ("x.xls", "id,text", InputError, "save it as .xlsx"),
        ("x.csv.zst", "\x28", EmptyInputError, "a header"),
    ],
)
def test_files_that_are_not_what_they_are_called(
    tmp_path: Path, name: str, content: str, problem: type[Exception], message: str
) -> None:
    if name in PACKAGES:
        needs(PACKAGES[name])
    (tmp_path / name).write_text(content)
    with pytest.raises(problem, match=message):
        TableReader(tmp_path / name)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.parquet", "x.xlsx", "x.csv.zst"])
def test_missing_files_of_every_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        TableReader(tmp_path / name)


def test_a_damaged_zst_file(tmp_path: Path) -> None:
    packed = zst(CSV.encode() * 100)
    for damaged in (packed[:-3], packed[:6] + b"\xff" * 9 + packed[15:]):
        (tmp_path / "in.csv.zst").write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            list(TableReader(tmp_path / "in.csv.zst"))


def test_sheets(tmp_path: Path) -> None:
    spec = _excel(tmp_path)
    with pytest.raises(EmptyInputError, match="the sheet is empty"):
        TableReader(spec.partition("#")[0])  # the first sheet has nothing
    with pytest.raises(ConfigError, match=r"no sheet 'Nope' \(sheets are: Sheet, Reviews\)"):
        TableReader(spec.replace("Reviews", "Nope"))


def test_excel_rows_keep_their_numbers_and_a_stray_cell_is_reported(tmp_path: Path) -> None:
    book = needs("openpyxl").Workbook()
    for row in (["id", "text", None], [], ["1", "x"], ["2", "y", "stray"]):
        book.active.append(row)
    book.save(tmp_path / "in.xlsx")
    first, second = TableReader(tmp_path / "in.xlsx").rows()
    assert (first.line, first.error) == (3, "")
    assert second.error == "line 4: 3 cells where the header has 2"
    assert second.extra == ("stray",)


def test_splits_and_class_names_of_a_data_set(tmp_path: Path) -> None:
    datasets = needs("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    part = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    both = datasets.DatasetDict({"train": part, "test": part.select([1])})
    both.save_to_disk(tmp_path / "d")
    rows = list(TableReader(f"hf:{tmp_path / 'd'}@train").rows())
    assert [row.cells["label"] for row in rows] == ["pos", "neg"]
    with pytest.raises(ConfigError, match=r"several splits \(name one: .*@train, .*@test\)"):
        TableReader(tmp_path / "d")
    with pytest.raises(ConfigError, match="no split 'dev'"):
        TableReader(f"hf:{tmp_path / 'd'}@dev")
    datasets.Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path / "single")
    with pytest.raises(ConfigError, match="the data set has no splits"):
        TableReader(f"hf:{tmp_path / 'single'}@train")


def test_a_data_set_that_cannot_be_loaded(tmp_path: Path) -> None:
    needs("datasets")
    with pytest.raises(InputError, match="cannot be loaded"):
        TableReader(f"hf:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("query", "problem", "message"),
    [
        ("select nope from r", InputError, "no such column: nope"),
        ("select * from nope", InputError, "no such table: nope"),
        ("delete from r", ConfigError, "needs a query that reads"),
        ("", ConfigError, "needs a query that reads"),
        ("select * from r where id > 9", EmptyInputError, "no rows"),
    ],
)
def test_queries_that_do_not_work(
    tmp_path: Path, query: str, problem: type[Exception], message: str
) -> None:
    with pytest.raises(problem, match=message):
        TableReader(_sql(tmp_path).partition("#")[0] + "#" + query)


def test_a_query_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a query is given where a file is read"):
        TableReader(Path(_sql(tmp_path)))


def test_a_query_cannot_change_the_database(tmp_path: Path) -> None:
    spec = _sql(tmp_path)
    changing = "with x as (select 1) delete from r returning id"
    with pytest.raises((InputError, EmptyInputError)):
        list(TableReader(spec.partition("#")[0] + "#" + changing))
    assert len(list(TableReader(spec).rows())) == 3


def test_a_password_never_shows() -> None:
    with pytest.raises(InputError) as caught:
        TableReader("sql:sqlite://user:hunter2@/nowhere.db#select 1")
    assert "hunter2" not in str(caught.value)


def test_options_of_text_formats_are_refused_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="do not apply to this format"):
        TableReader(_parquet(tmp_path), encoding="gbk")
    with pytest.raises(ConfigError, match="a delimiter does not apply to JSON"):
        TableReader(_jsonl(tmp_path), delimiter=";")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow .*ecomfs"):
        TableReader(path)


def test_a_whole_table_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"id,text\n1,a\0b\n2\n" + "3,质量很好\n4,好\n".encode("gbk"))
    frame = read_frame(path, allow_nul=True)
    assert frame.data.index.to_list() == [2, 3, 4, 5]
    assert frame.data["text"].to_list() == ["a\0b", "", "质量很好", "好"]
    assert frame.errors == {3: "line 3: 1 cell where the header has 2"}
    assert isinstance(frame.data, pd.DataFrame)
    assert frame.name == "in.csv"


def test_a_row_that_a_data_set_marks_as_unlabelled_has_no_label(tmp_path: Path) -> None:
    datasets = needs("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    part = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, -1]}, features=features)
    part.save_to_disk(tmp_path / "d")
    rows = list(TableReader(f"hf:{tmp_path / 'd'}").rows())
    assert [row.cells["label"] for row in rows] == ["pos", ""]


def test_nan_inside_a_list_is_null_and_a_missing_cell_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": NaN, "history": [1.0, NaN, {"a": NaN}], "n": Infinity}\n')
    [row] = TableReader(path).rows()
    assert row.cells == {"text": "", "history": '[1.0, null, {"a": null}]', "n": "inf"}
    write_parquet([{"text": "x", "n": math.nan}, {"text": None, "n": 2.0}], tmp_path / "t.parquet")
    rows = list(TableReader(tmp_path / "t.parquet").rows())
    assert [dict(row.cells) for row in rows] == [{"text": "x", "n": ""}, {"text": "", "n": "2"}]


def test_a_key_that_an_object_has_twice_is_named(tmp_path: Path) -> None:
    lines, array = tmp_path / "in.jsonl", tmp_path / "in.json"
    lines.write_text('{"id": 1, "text": "a"}\n{"id": 2, "text": "b", "text": "c"}\n')
    first, second = TableReader(lines).rows()
    assert (first.error, second.error) == ("", "line 2: the object has 'text' twice")
    array.write_text('[{"id": 1, "text": "a", "text": "c"}]')
    with pytest.raises(InputError, match=r"in\.json: an object has 'text' twice"):
        TableReader(array)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_floats_of_few_bits_are_read_by_their_digits(tmp_path: Path, kind: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = pa.array(np.array([0.1, 3, np.nan], dtype=kind))
    pq.write_table(pa.table({"label": cells}), tmp_path / "in.parquet")
    rows = TableReader(tmp_path / "in.parquet").rows()
    assert [row.cells["label"] for row in rows] == ["0.1", "3", ""]


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> str:
    excel = pytest.importorskip("openpyxl")
    book = excel.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return str(path)


def test_several_sheets_are_one_table_that_names_them(tmp_path: Path) -> None:
    book = workbook(
        tmp_path / "in.xlsx",
        {
            "May": [["id", "text"], [1, "good"]],
            "June": [["text", "id"], ["bad", 2], ["odd", 3, "more"]],
            "Notes": [["anything"], ["x"]],
        },
    )
    reader = TableReader(f"{book}#May/June")
    rows = list(reader.rows())
    assert reader.header == ("id", "text", "sheet")
    assert [tuple(r.cells.values()) for r in rows] == [
        ("1", "good", "May"),
        ("2", "bad", "June"),
        ("3", "odd", "June"),
    ]
    assert rows[2].extra == ("more",)
    assert rows[2].error == "line 3: 4 cells where the header has 3"  # as in a single sheet
    assert TableReader(f"{book}#June").header == ("text", "id")
    with pytest.raises(ColumnError, match="'May' and 'Notes' differ in columns: anything, id"):
        TableReader(f"{book}#*")
    with pytest.raises(ConfigError, match=r"no sheet 'July' \(sheets are: May, June, Notes"):
        TableReader(f"{book}#May/July")


def test_a_column_called_sheet_stays_the_tables_own(tmp_path: Path) -> None:
    rows = [["sheet", "text"], ["A4", "white"]]
    book = workbook(tmp_path / "in.xlsx", {"May": rows, "June": rows})
    reader = TableReader(f"{book}#*")
    assert reader.header == ("sheet", "text")
    assert [row.cells["sheet"] for row in reader.rows()] == ["A4", "A4"]


def test_a_small_workbook_that_is_huge_unpacked_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", bytes(101 * 2**20))
    assert file.stat().st_size < 200_000
    with pytest.raises(InputError, match="no spreadsheet writes such a table"):
        TableReader(file)


def test_a_workbook_is_read_whole_whatever_size_it_states(tmp_path: Path) -> None:
    rows = [["id", "text"], *([n, f"text {n}"] for n in range(9))]
    whole = Path(workbook(tmp_path / "whole.xlsx", {"May": rows}))
    for stated in ("A1", "A1:B4", "A1:A10"):
        path = tmp_path / "stated.xlsx"
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                part = old.read(name).replace(b'"A1:B10"', f'"{stated}"'.encode())
                new.writestr(name, part)
        read = [dict(row.cells) for row in TableReader(path).rows()]
        assert read == [dict(row.cells) for row in TableReader(whole).rows()]
        assert len(read) == 9


def test_sheets_without_cells_are_not_read(tmp_path: Path) -> None:
    excel = pytest.importorskip("openpyxl")
    book = excel.Workbook()
    book.active.append(["text"])
    book.active.append(["good"])
    book.create_chartsheet("Chart").add_chart(needs("openpyxl.chart").BarChart())
    book.save(tmp_path / "in.xlsx")
    assert TableReader(tmp_path / "in.xlsx").note == ""
    assert [r.cells["text"] for r in TableReader(f"{tmp_path}/in.xlsx#*").rows()] == ["good"]
    with pytest.raises(ConfigError, match=r"no sheet 'Chart' \(sheets are: Sheet\)"):
        TableReader(f"{tmp_path}/in.xlsx#Chart")


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("xl/worksheets/sheet1.xml", b"</row>", b""),
        ("xl/worksheets/sheet1.xml", b"<v>0</v>", b"<v>zero</v>"),
        ("xl/styles.xml", b"<fill>", b"<fill /><fill>"),
    ],
)
def test_a_damaged_workbook_is_named(tmp_path: Path, part: str, old: bytes, new: bytes) -> None:
    whole = Path(workbook(tmp_path / "whole.xlsx", {"May": [["id", "text"], [0, "good"]]}))
    path = tmp_path / "damaged.xlsx"
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content.replace(old, new) if name == part else content)
    with pytest.raises(InputError, match=r"damaged\.xlsx: cannot be read as an Excel workbook"):
        list(TableReader(path).rows())


def test_a_column_without_a_name_has_its_own_cells(tmp_path: Path) -> None:
    rows = [[None, "text", None, "label"], [0, "good", None, "x"]]
    reader = TableReader(workbook(tmp_path / "in.xlsx", {"May": rows}))
    assert reader.header == ("", "text", "column 3", "label")
    assert [tuple(row.cells.values()) for row in reader.rows()] == [("0", "good", "", "x")]


def test_values_that_python_does_not_have_affect_no_other_row(tmp_path: Path) -> None:
    pa, pq = needs("pyarrow"), needs("pyarrow.parquet")
    raw = pa.array([b"good", b"\xff\xfe", b"bad"], pa.binary())
    table = {
        "text": pa.Array.from_buffers(pa.string(), 3, raw.buffers()),
        "day": pa.array([1, 2, 10**8], pa.int32()).cast(pa.date32()),
    }
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    rows = list(TableReader(tmp_path / "in.parquet").rows())
    assert [row.cells["text"] for row in rows] == ["good", r"\xff\xfe", "bad"]
    assert rows[1].error.startswith("line 2: column 'text' cannot be read: 'utf-8' codec")
    assert [rows[n].error for n in (0, 2)] == ["", ""]
    assert rows[0].cells["day"] == "1970-01-02"
    assert "100000000" in rows[2].cells["day"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1" * 5000, "a number has too many digits"),
        ("[" * 900 + "]" * 900, "values are nested too deeply"),
        ("[" * 99_999 + "]" * 99_999, "values are nested too deeply"),
    ],
)
def test_json_that_python_cannot_hold_is_a_bad_row(tmp_path: Path, value: str, reason: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"text": "good"}}\n{{"text": "bad", "n": {value}}}\n{{"text": "fine"}}\n')
    errors = [row.error for row in TableReader(path).rows()]
    assert errors == ["", f"line 2: {reason}", ""]


def test_a_json_array_that_python_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    for value, reason in (("1" * 5000, "too many digits"), ("[" * 99_999, "nested too deeply")):
        path.write_text(f'[{{"text": "bad", "n": {value}}}]')
        with pytest.raises(InputError, match=rf"in\.json: .*{reason}.*JSON Lines"):
            TableReader(path)


def test_a_colon_in_a_query_is_text(tmp_path: Path) -> None:
    base = _sql(tmp_path).partition("#")[0]
    query = "SELECT ':ok' AS a, 'is :ok, or 12:30' AS b, ':smile:' AS c"
    (row,) = TableReader(f"{base}#{query}").rows()
    assert tuple(row.cells.values()) == (":ok", "is :ok, or 12:30", ":smile:")
