"""A database table as an output: complete or absent, and never replacing another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres import new_database

from ecomfs.errors import ConfigError, OutputError
from ecomfs.io import SqlTable, TableReader, open_writer

BACKENDS = ["sqlite", "duckdb", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return new_database(request.getfixturevalue("postgres_url"))
    if request.param == "duckdb":
        pytest.importorskip("duckdb_engine")
    return f"{request.param}:///{tmp_path / 'shop.db'}"


def query(url: str, sql: str, change: bool = False) -> list[Any]:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(sa.text(sql))
            return [] if change else [tuple(row) for row in result]
    finally:
        engine.dispose()


def tables(url: str) -> list[str]:
    engine = sa.create_engine(url)
    try:
        return sorted(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def write(url: str, rows: list[list[str]], *, table: str = "scored", replace: bool = False) -> None:
    out = open_writer(
        SqlTable.parse(f"sql:{url}#{table}"), ["id", "p"], numbers=["p"], replace=replace
    )
    try:
        out.write(rows)
        out.commit()
    finally:
        out.discard()


def test_a_table_holds_the_rows_with_their_numbers(url: str) -> None:
    write(url, [["007", "0.25"], ['=1+1; "x"', ""], ["\ud800\0", "1"]])
    assert query(url, "SELECT * FROM scored") == [
        ("007", 0.25),
        ('=1+1; "x"', None),
        ("\\ud800\\x00", 1.0),
    ]


def test_a_table_that_is_there_stays_unless_it_may_go(url: str) -> None:
    write(url, [["old", ""]])
    target = SqlTable.parse(f"sql:{url}#scored")
    for attempt in (
        lambda: target.check("in.csv", replace=False),
        lambda: write(url, [["new", ""]]),
    ):
        with pytest.raises(OutputError, match=r"exists already \(replace it with --replace-table"):
            attempt()
        assert query(url, "SELECT id FROM scored") == [("old",)]
    target.check("in.csv", replace=True)
    write(url, [["new", ""], ["newer", ""]], replace=True)
    assert query(url, "SELECT id FROM scored") == [("new",), ("newer",)]
    assert tables(url) == ["scored"]  # nothing in between is left


def test_a_failure_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(url, [["old", ""]])
    monkeypatch.setattr("ecomfs.io.sql_table._BATCH_ROWS", 1)
    with pytest.raises(ValueError, match="could not convert"):
        write(url, [["new", "0.5"], ["newer", "no number"]], replace=True)
    assert query(url, "SELECT id FROM scored") == [("old",)]
    assert tables(url) == ["scored"]


def test_an_abandoned_table_never_appears(url: str) -> None:
    write(url, [["x", ""]], table="first")
    out = open_writer(SqlTable.parse(f"sql:{url}#scored"), ["id"])
    out.write([["1"]])
    out.discard()
    assert tables(url) == ["first"]


def test_columns_keep_the_types_that_the_query_gave(url: str) -> None:
    query(
        url,
        "CREATE TABLE shop (id BIGINT, note TEXT, price NUMERIC(10,2), seen TIMESTAMP, "
        "day DATE, mixed TEXT)",
        change=True,
    )
    query(
        url,
        "INSERT INTO shop VALUES (1, 'a', 9.50, '2026-01-02 03:04:05', '2026-01-02', NULL), "
        "(2, NULL, 10, NULL, NULL, '07')",
        change=True,
    )
    reader = TableReader(f"sql:{url}#SELECT * FROM shop ORDER BY id")
    out = open_writer(
        SqlTable.parse(f"sql:{url}#copied"), reader.header, kinds=lambda: reader.kinds
    )
    out.write([list(row.cells.values()) for row in reader.rows()])
    out.commit()
    before, after = (query(url, f"SELECT * FROM {t} ORDER BY id") for t in ("shop", "copied"))
    assert [row[0] for row in after] == [1, 2]
    assert [row[5] for row in after] == [None, "07"]
    if not url.startswith("sqlite"):  # which has no types of time
        assert after[0][3:5] == (datetime(2026, 1, 2, 3, 4, 5), date(2026, 1, 2))
        assert [row[3:] for row in after] == [row[3:] for row in before]
    if url.startswith("postgres"):
        assert [row[2] for row in after] == [Decimal("9.50"), Decimal(10)]


def test_the_table_that_is_read_is_not_written(url: str) -> None:
    write(url, [["1", ""]], table="reviews")
    with pytest.raises(ConfigError, match="a table that the input reads"):
        SqlTable.parse(f"sql:{url}#reviews").check(f"sql:{url}#SELECT * FROM Reviews", replace=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sql:nothing#scored", "not a database URL"),
        ("sql:mysql://h/shop#scored", "mysql is not supported .use one of postgresql, duckdb"),
        ("sql:sqlite:///shop.db", "not the name of a table"),
        ("sql:sqlite:///shop.db#two words", "not the name of a table"),
        ("sql:sqlite:///shop.db#a;drop", "not the name of a table"),
    ],
)
def test_invalid_tables_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SqlTable.parse(spec)


def test_a_database_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_text("no database at all, but a text that is long enough\n" * 9)
    target = SqlTable.parse(f"sql:sqlite:///{tmp_path / 'shop.db'}#t")
    with pytest.raises(OutputError, match="not a database"):
        target.check("in.csv", replace=False)
    target = SqlTable.parse(f"sql:sqlite:///{tmp_path / 'no' / 'shop.db'}#t")
    with pytest.raises(OutputError, match="folder does not exist"):
        target.check("in.csv", replace=False)
    with pytest.raises(ConfigError, match="in memory would be lost"):
        SqlTable.parse("sql:sqlite://#t").check("in.csv", replace=False)
    missing = SqlTable.parse(f"sql:sqlite:///{tmp_path / 'new.db'}#t")
    missing.check("in.csv", replace=False)
    assert not (tmp_path / "new.db").exists()  # made when it is written, not before


@pytest.mark.parametrize(
    ("backend", "names", "message"),
    [
        ("sqlite", ["Text", "text"], "'Text' and 'text' are the same to this database"),
        ("postgresql", ["很" * 22], "longer than 63 bytes"),
        ("duckdb", ["id", ""], "a column has no name"),
    ],
)
def test_columns_that_a_database_cannot_have(backend: str, names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SqlTable.parse(f"sql:{backend}:///shop#t").check_columns(names)
    check: Callable[..., None] = SqlTable.parse("sql:postgresql://h/shop#t").check_columns
    check(["Text", "text"])


@pytest.mark.postgres
def test_a_schema_and_missing_rights(postgres_url: str) -> None:
    url = new_database(postgres_url)
    query(url, "CREATE SCHEMA marts", change=True)
    write(url, [["1", ""]], table="marts.scored")
    write(url, [["2", ""]], table="marts.scored", replace=True)
    assert query(url, "SELECT id FROM marts.scored") == [("2",)]
    name = "reader_" + sa.make_url(url).database[-8:]  # type: ignore[index]
    query(url, f"CREATE ROLE {name} LOGIN PASSWORD 'only-reads'", change=True)
    lesser = sa.make_url(url).set(username=name, password="only-reads")
    target = SqlTable.parse(f"sql:{lesser.render_as_string(hide_password=False)}#scored")
    with pytest.raises(OutputError, match="permission denied for schema public") as refused:
        target.check("in.csv", replace=False)
    assert "only-reads" not in str(refused.value)
