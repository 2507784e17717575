"""Tables as shops export them: unnamed encodings, spreadsheet headers, odd delimiters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import ColumnError, ConfigError
from ecomfs.io import TableReader, read_frame, text_encoding

WESTERN = "id;text\n1;Kleid in Größe 38, sitzt gut\n2;Hose, fällt zu klein aus\n"


def table(path: Path, raw: bytes | str, **options: str) -> list[list[str]]:
    """Header and cells; every row has to be sound."""
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    reader = TableReader(path, **options)  # type: ignore[arg-type]
    rows = list(reader.rows())
    assert not [row.error for row in rows if row.error]
    return [[*reader.header], *([*row.cells.values()] for row in rows)]


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.json"])
def test_a_detected_encoding_is_reported_once_for_all_text_formats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = tmp_path / name
    records = '{"text": "Größe fällt größer aus"}\n'
    text = {"in.csv": WESTERN, "in.jsonl": records, "in.json": f"[{records}]"}[name]
    path.write_text(text, encoding="cp1252")
    for _ in range(2):
        reader = TableReader(path)
        assert "Größe" in next(iter(reader.rows())).cells["text"]
    assert reader.note.startswith("read as cp1252")
    assert caplog.text.count("read as cp1252") == 1
    assert "--input-encoding" in caplog.text


def test_unicode_and_a_right_name_need_no_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for codec in ("utf-8", "utf-8-sig", "utf-16"):
        assert table(tmp_path / "in.csv", WESTERN.encode(codec))[1][0] == "1"
    assert table(tmp_path / "in.csv", WESTERN.encode("cp1252"), encoding="cp1252")[1][0] == "1"
    assert not caplog.text


def test_one_encoding_named_for_all_tables_of_a_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cleaned pool is UTF-8, the export is not."""
    assert table(tmp_path / "in.csv", WESTERN.encode("cp1252"), encoding="cp1252")[1][1][9:14] == (
        "Größe"
    )
    assert table(tmp_path / "pool.csv", WESTERN, encoding="cp1252")[1][1][9:14] == "Größe"
    assert "the file is UTF-8 and was read as such, not as cp1252" in caplog.text
    assert text_encoding("pool.parquet", "cp1252") is None
    assert text_encoding("book.xlsx#Sheet2", "cp1252") is None
    assert text_encoding("pool.jsonl.gz", "cp1252") == "cp1252"


def test_an_unknown_encoding_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(WESTERN)
    with pytest.raises(ConfigError, match="unknown text encoding 'klingon'"):
        read_frame(tmp_path / "in.csv", encoding="klingon")


@pytest.mark.parametrize(
    ("header", "row", "shown"),
    [
        (",text,,", "0,good,,", [["", "text"], ["0", "good"]]),
        ("id,text,,,", "1,good,,,", [["id", "text"], ["1", "good"]]),
        ("id,,,text", "1,,,good", [["id", "column 2", "column 3", "text"], ["1", "", "", "good"]]),
        ("id,text,", "1,good,", [["id", "text", ""], ["1", "good", ""]]),
    ],
)
def test_nameless_empty_columns_of_spreadsheets(
    tmp_path: Path, header: str, row: str, shown: list[list[str]]
) -> None:
    assert table(tmp_path / "in.csv", f"{header}\n{row}\n") == shown


def test_nameless_columns_that_hold_something_are_not_dropped(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match=r"2 columns have no name \(positions 3, 4\)"):
        table(tmp_path / "in.csv", "id,text,,\n1,good,x,\n2,bad,,y\n")
    path = tmp_path / "late.csv"  # beyond what is looked at first
    path.write_text("id,text,,\n" + "1,good,,\n" * 300 + "2,bad,,late\n")
    (bad,) = [row for row in TableReader(path).rows() if row.error]
    assert (bad.error, bad.extra) == ("line 302: 4 cells where the header has 2", ("", "late"))


@pytest.mark.parametrize(
    "text",
    [
        'id, "text"\n1, "good, but slow"\n',
        'id,text\n1, "good, but slow"\n',
        'id; "text"\n1; "good, but slow"\n',
        'id, text\n1, "good, but slow"\n',
    ],
)
def test_spaces_after_the_delimiter(tmp_path: Path, text: str) -> None:
    assert table(tmp_path / "in.csv", text) == [["id", "text"], ["1", "good, but slow"]]


def test_spaces_that_belong_to_cells_stay(tmp_path: Path) -> None:
    assert table(tmp_path / "in.csv", "id,text\n1,  indented\n2, so\n")[1:] == [
        ["1", "  indented"],
        ["2", " so"],
    ]


@pytest.mark.parametrize(
    "text",
    ['id,"a ""b"", c"\n1, so\n', 'id,text\n1,"he said, ""no"""\n2, so\n3,"well, ""yes"""\n'],
)
def test_spaces_inside_quotes_do_not_affect_other_cells(tmp_path: Path, text: str) -> None:
    rows = table(tmp_path / "in.csv", text)
    assert " so" in [row[1] for row in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"what\\""""is""""it, ok"""\n4\n', [['what\\""is""it, ok"'], ["4"]]),
        ('"sep=\\"\n"|x""pt"\nt\n1|f\n', [["sep=\\"], ['|x"pt'], ["t"], ["1|f"]]),
        ('id,text\n1,"in C:\\"\n2,"a ""b"""\n', [["id", "text"], ["1", "in C:\\"], ["2", 'a "b"']]),
    ],
)
def test_backslash_quoting_is_not_tried_if_plain_quoting_works(
    tmp_path: Path, text: str, expected: list[list[str]]
) -> None:
    """Found by fuzzing."""
    assert table(tmp_path / "in.csv", text) == expected


@pytest.mark.parametrize("mark", ["^", "~", "\x01", "\x1f", "¦", "#", "*"])
def test_uncommon_delimiters(tmp_path: Path, mark: str) -> None:
    rows = [["id", "text", "label"], ["1", "good, but; slow", "x"], ["2", "bad", "y"]]
    raw = "\n".join(mark.join(row) for row in rows)
    assert table(tmp_path / "in.csv", raw) == rows


@pytest.mark.parametrize("header", ["text*", "price $", "what: how", "e-mail@shop"])
def test_a_sign_in_the_name_of_the_only_column_is_no_delimiter(tmp_path: Path, header: str) -> None:
    raw = f"{header}\ngood, really\n50 % off: #1\n"
    assert table(tmp_path / "in.csv", raw) == [[header], ["good, really"], ["50 % off: #1"]]


plain = st.text(st.characters(codec="cp1252", exclude_categories=["C", "Z"]), max_size=8)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(plain, plain), min_size=1, max_size=4))
def test_given_its_encoding_a_table_reads_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("given") / "in.csv"
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
    raw = "\n".join(["id,text", *(",".join(row) for row in quoted)]).encode("cp1252")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        assert table(path, raw, encoding="cp1252")[1:] == [list(row) for row in rows]
