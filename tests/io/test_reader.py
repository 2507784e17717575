"""Reading delimited files: every row is returned, and a bad one has a reason."""

from __future__ import annotations

import gzip
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DecodingError,
    EmptyInputError,
    InputError,
    MissingFileError,
)
from ecomfs.io import TableReader

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(content: str | bytes, name: str = "in.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    return write


def table(path: Path, **options: object) -> list[tuple[list[str], str]]:
    reader = TableReader(path, **options)  # type: ignore[arg-type]
    return [(list(row.cells.values()), row.error) for row in reader.rows()]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(make: Make, delimiter: str, newline: str) -> None:
    rows = [["id", "text"], ["1", "a, b; c | d"], ["2", "好"]]
    quoted = [[f'"{c}"' if " " in c else c for c in row] for row in rows]
    path = make(newline.join(delimiter.join(row) for row in quoted))
    reader = TableReader(path)
    assert reader.dialect.delimiter == delimiter
    assert reader.header == ("id", "text")
    assert table(path) == [(row, "") for row in rows[1:]]


def test_the_header_chooses_the_delimiter_even_when_rows_are_broken(make: Make) -> None:
    path = make("id,text\n1,I like it, really\n2,so do I, and we, too\n3,yes\n")
    errors = [error for _, error in table(path)]
    assert errors == [
        "line 2: 3 cells where the header has 2",
        "line 3: 4 cells where the header has 2",
        "",
    ]


def test_a_single_column_may_hold_commas(make: Make) -> None:
    path = make("text\nI like it, really\nso do I, and we, too\n好\n")
    assert [cells[0] for cells, _ in table(path)][1] == "so do I, and we, too"


def test_a_suffix_or_an_argument_settles_the_delimiter(make: Make) -> None:
    assert TableReader(make("a,b\tc\n1,2\t3\n", "x.tsv")).header == ("a,b", "c")
    assert TableReader(make("a,b~c\n1,2~3\n"), delimiter="~").header == ("a,b", "c")


def test_the_sep_line_of_spreadsheets(make: Make) -> None:
    reader = TableReader(make("sep=;\r\nid;text\r\n1;a,b\r\n"))
    (row,) = reader.rows()
    assert (reader.header, row.line, dict(row.cells)) == (
        ("id", "text"),
        3,
        {"id": "1", "text": "a,b"},
    )


def test_backslash_quotes_are_found_out(make: Make) -> None:
    path = make('id,text\n1,"a 15\\" screen, C:\\\\dir"\n2,"said \\"no\\""\n')
    assert TableReader(path).dialect.backslash
    assert table(path) == [(["1", 'a 15" screen, C:\\\\dir'], ""), (["2", 'said "no"'], "")]


def test_lines_are_counted_as_an_editor_counts_them(make: Make) -> None:
    path = make('id,text\n\n1,"two\nlines"\n2,x\n\n\n3\n')
    assert [(row.line, row.error) for row in TableReader(path).rows()] == [
        (3, ""),
        (5, ""),
        (8, "line 8: 1 cell where the header has 2"),
    ]


def test_a_stray_quote_costs_one_row_not_the_rest(make: Make) -> None:
    rows = "".join(f"{i},fine\n" for i in range(3, 50))
    path = make('id,text\n1,ok\n2,"never closed\n' + rows)
    got = table(path)
    assert [cells[0] for cells, error in got if not error] == ["1", *map(str, range(3, 50))]
    assert got[1] == (
        ['2,"never closed', ""],
        "line 3: a quote that opens in this row is never closed",
    )


def test_a_stray_quote_that_meets_another_does_not_merge_rows(make: Make) -> None:
    path = make('id,text\n1,"open\n2,middle\n3,x"y\n4,ok\n')
    got = table(path)
    assert got[0][1] == "line 2: a quote inside a quoted cell is not doubled"
    assert got[1:] == [(["2", "middle"], ""), (["3", 'x"y'], ""), (["4", "ok"], "")]


def test_an_endless_record_is_given_up_within_bounded_memory(make: Make) -> None:
    line = "1," + "x" * 998 + "\n"
    path = make('id,text\n0,"open\n' + line * 20_000)
    tracemalloc.start()
    try:
        reader = TableReader(path, chunk_rows=100)
        bad = [row.line for row in reader.rows() if row.error]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bad == [2]
    assert peak < 40_000_000  # the record limit of 4 M characters, several times over


def test_memory_does_not_grow_with_rows(make: Make) -> None:
    def peak(rows: int) -> int:
        path = make("id,text\n" + "".join(f"{i},{'好' * 100}\n" for i in range(rows)))
        tracemalloc.start()
        try:
            assert sum(len(chunk) for chunk in TableReader(path, chunk_rows=500)) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small = peak(5_000)
    assert peak(40_000) < 1.5 * small + 1_000_000


def test_nul_bytes_are_a_row_error_with_the_column(make: Make) -> None:
    assert table(make("id,text\n1,a\0b\n2,c\n")) == [
        (["1", "a\0b"], "line 2: column 'text' holds a NUL character"),
        (["2", "c"], ""),
    ]


def test_a_megabyte_cell_is_a_row_error_and_kept(make: Make) -> None:
    path = make(f"id,text\n1,{'x' * 1_000_000}\n2,ok\n")
    (long, error), second = table(path)
    assert len(long[1]) == 1_000_000
    assert error == (
        "line 2: column 'text' has 1,000,000 characters, more than the limit of 100,000"
    )
    assert second == (["2", "ok"], "")
    assert not table(path, max_cell_chars=1_000_000)[0][1]


def test_many_short_cells_are_not_one_long_cell(make: Make) -> None:
    names = ",".join(f"c{i}" for i in range(20))
    path = make(f"{names}\n" + ",".join(["x" * 9] * 20) + "\n")
    assert table(path, max_cell_chars=9)[0][1] == ""
    assert "column 'c0'" in table(path, max_cell_chars=8)[0][1]


def test_wide_rows_keep_their_extra_cells(make: Make) -> None:
    rows = list(TableReader(make("id,text\n1,a,b,c\n2,x,,\n")).rows())
    assert (rows[0].extra, bool(rows[0].error)) == (("b", "c"), True)
    assert (rows[1].error, rows[1].note) == ("", "empty cells beyond the header")


def test_mixed_encodings_row_by_row(make: Make) -> None:
    raw = "id,text\n1,好\n".encode() + "2,质量很好\n".encode("gbk") + b"3,caf\xe9\n"
    reader = TableReader(make(raw))
    first, second, third = reader.rows()
    assert reader.encoding == "utf-8"
    assert (first.note, first.error) == ("", "")
    assert second.cells["text"] == "质量很好"
    assert (second.note, second.error) == ("decoded as gb18030, the file is utf-8", "")
    assert third.error == "line 4: byte E9 at position 6 of the line is not valid utf-8"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_encodings_of_spreadsheets(make: Make, encoding: str) -> None:
    path = make('id\ttext\r\n1\t"好\r\n评"\r\n', "export.txt", encoding)
    assert table(path) == [(["1", "好\r\n评"], "")]


def test_gzip_is_read_as_it_is(make: Make) -> None:
    path = make(gzip.compress("id,text\n1,好\n".encode()), "in.csv.gz")
    assert table(path) == [(["1", "好"], "")]
    cut = make(gzip.compress(b"id,text\n" + bytes(range(97, 120)) * 9)[:-12], "cut.csv.gz")
    with pytest.raises(InputError, match="damaged"):
        table(cut)


def test_chunks_know_their_place(make: Make) -> None:
    chunks = list(TableReader(make("id\n" + "1\n" * 25), chunk_rows=10))
    assert [(c.first, len(c)) for c in chunks] == [(0, 10), (10, 10), (20, 5)]
    assert [c.progress for c in chunks] == [pytest.approx(23 / 53), pytest.approx(43 / 53), 1.0]


def test_reading_twice_gives_the_same(make: Make) -> None:
    reader = TableReader(make("id\n1\n2\n"))
    assert list(reader.rows()) == list(reader.rows())


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("id\n1\n")
    with pytest.raises(MissingFileError, match=r"review.csv: no such file .*reviews.csv\?"):
        TableReader(tmp_path / "review.csv")
    with pytest.raises(MissingFileError, match="folder"):
        TableReader(tmp_path)
    with pytest.raises(MissingFileError, match="no folder"):
        TableReader(tmp_path / "nowhere" / "x.csv")


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "  \n"])
def test_empty_files(make: Make, content: str) -> None:
    with pytest.raises(EmptyInputError, match=r"in\.csv: the file is empty"):
        TableReader(make(content))


def test_a_header_alone(make: Make) -> None:
    with pytest.raises(EmptyInputError, match=r"a header \(id, text\) and no rows"):
        TableReader(make("id,text\n\n"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,text,text", r"2 columns are called 'text' \(positions 2, 3\)"),
        ("id,,text,", r"2 columns have no name \(positions 2, 4\)"),
        ('id,"te"xt"', "the header cannot be read"),
    ],
)
def test_headers_that_cannot_serve(make: Make, header: str, message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        TableReader(make(f"{header}\n1,2,3,4\n"))


def test_a_missing_column_names_those_there_and_the_nearest(make: Make) -> None:
    reader = TableReader(make("id,Review Text\n1,x\n"))
    reader.require("id", "Review Text")
    with pytest.raises(ColumnError) as caught:
        reader.require("id", "review text")
    assert caught.value.message == "in.csv: no column 'review text'"
    assert caught.value.hint == "did you mean 'Review Text'? columns are: id, Review Text"


@pytest.mark.parametrize("magic", [b"PK\x03\x04rest", b"PAR1rest", b"%PDF-1.4"])
def test_other_kinds_of_file_are_named(make: Make, magic: bytes) -> None:
    with pytest.raises(DecodingError, match="not a text file"):
        TableReader(make(magic))


def test_the_wrong_encoding_given_is_refused(make: Make) -> None:
    path = make("id,text\n1,质量很好\n", encoding="gbk")
    with pytest.raises(DecodingError, match="not valid utf-8"):
        TableReader(path, encoding="utf-8")
    assert TableReader(path, encoding="gb2312").encoding == "gb18030"


@pytest.mark.parametrize(
    "options", [{"delimiter": ""}, {"delimiter": ",,"}, {"delimiter": '"'}, {"chunk_rows": 0}]
)
def test_options_that_make_no_sense(make: Make, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TableReader(make("id\n1\n"), **options)


@settings(deadline=None)
@given(
    st.binary(max_size=120)
    | st.lists(st.sampled_from(['"', ",", "\n", "\r", "a", ";", "好", "\\", "\0", "\t"]))
    .map("".join)
    .map(str.encode)
)
def test_any_bytes_are_rows_or_an_input_error(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(raw)
        try:
            reader = TableReader(path)
        except InputError:
            return
        for row in reader.rows():
            assert list(row.cells) == list(reader.header)
            assert row.error == "" or row.error.startswith(f"line {row.line}: ")


def test_chunks_may_skip_rows_and_keep_their_positions(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id\n" + "".join(f"{i}\n" for i in range(10)))
    reader = TableReader(path, chunk_rows=4)
    whole = [(c.first + i, row) for c in reader for i, row in enumerate(c)]
    rest = [(c.first + i, row) for c in reader.chunks(skip=3) for i, row in enumerate(c)]
    assert rest == whole[3:]
    assert list(reader.chunks(skip=10)) == []


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("chunk_rows", [1, 2, 3])
def test_a_file_is_read_from_any_place_as_from_the_start(
    tmp_path: Path, mark: bytes, chunk_rows: int
) -> None:
    """Blank lines, cells of several lines, broken rows and other encodings: the rows, their
    positions and their line numbers are the same."""
    path = tmp_path / "in.csv"
    path.write_bytes(
        mark
        + 'sep=;\nid;text\n1;很好\n\n\n2;"two\nlines"\n3;a "stray" quote\n'.encode()
        + "4;质量很好\n".encode("gb18030")
        + b"5;one;too many\n\n6;end"
    )
    reader = TableReader(path, chunk_rows=chunk_rows)
    chunks = list(reader)
    rows = [(c.first + i, row) for c in chunks for i, row in enumerate(c)]
    assert len(rows) == 6
    for chunk in chunks[:-1]:
        assert chunk.place is not None
        for skip in range(chunk.place.row, 7):
            rest = list(reader.chunks(skip, chunk.place))
            assert [(c.first + i, row) for c in rest for i, row in enumerate(c)] == rows[skip:]
            assert all(c.progress is not None and 0 < c.progress <= 1 for c in rest)


def test_a_packed_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"id\n" + b"".join(b"%d\n" % i for i in range(9))))
    reader = TableReader(path, chunk_rows=2)
    assert all(chunk.place is None for chunk in reader)
    assert [row.cells["id"] for c in reader.chunks(7) for row in c] == ["7", "8"]
