"""Databases that are refused, and their messages."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from ecomfs.errors import ConfigError, PoolError
from ecomfs.pool import Pool
from ecomfs.types import Example


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "pool.db"
    path.write_text("id,text,label\n" * 100)
    with pytest.raises(PoolError, match="not a database") as caught:
        Pool.open(path)
    assert "another path" in caught.value.hint


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="unable to open") as caught:
        Pool.open(tmp_path / "nowhere" / "pool.db")
    assert "folder exists" in caught.value.hint


def test_a_missing_file_is_not_made_when_that_is_not_wanted(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="no such pool database"):
        Pool.open(tmp_path / "typo.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_the_message_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PoolError) as caught:
        Pool.open(tmp_path / "nowhere" / "pool.db")
    assert "\n" not in str(caught.value)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """SQLite's own page limit answers as a full disk does."""

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 30")

    sa.event.listen(sa.Engine, "connect", limit)
    yield
    sa.event.remove(sa.Engine, "connect", limit)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_stores_nothing_of_the_change(tmp_path: Path) -> None:
    with Pool.open(tmp_path / "pool.db") as pool:
        pool.add([Example("a", {"text": "short"}, "good")])
        long = [Example(f"b{n}", {"text": "x" * 5000}, "good") for n in range(100)]
        with pytest.raises(PoolError, match="full") as caught:
            pool.add(long)
        assert "free some space" in caught.value.hint
        assert [e.id for e in pool.examples()] == ["a"]
        assert pool.version == 1


def test_sqlite_files_are_written_ahead(tmp_path: Path) -> None:
    with Pool.open(tmp_path / "pool.db") as pool:
        pool.add([Example("a", {"text": "t"}, "good")])
    connection = sqlite3.connect(tmp_path / "pool.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize("url", ["mysql://host/db", "postgresql+asyncpg://host/db", "x://", "://"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Pool.open(url)


def test_a_url_with_a_password_is_never_shown_whole() -> None:
    with pytest.raises(PoolError) as caught:
        Pool.open("postgresql://user:geheim@127.0.0.1:1/db")
    assert "geheim" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_a_pool_needs_a_name(name: str) -> None:
    with pytest.raises(PoolError, match="is not a valid name of a pool"):
        Pool.in_memory(name=name)


@pytest.mark.postgres
def test_a_wrong_password_and_a_missing_database(postgres_url: str) -> None:
    right = sa.make_url(postgres_url + "postgres")
    wrong = right.set(password="wrong").render_as_string(hide_password=False)
    with pytest.raises(PoolError, match="password") as caught:
        Pool.open(wrong)
    assert "check the user" in caught.value.hint
    with pytest.raises(PoolError, match="does not exist") as caught:
        Pool.open(postgres_url + "nothing_here")
    assert "create it first" in caught.value.hint


def open_and_add(url: str, id: str) -> int:
    with Pool.open(url) as pool:
        return pool.add([Example(id, {"text": "t"}, "good")])


def test_processes_that_make_the_tables_together_all_succeed(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as workers:
        jobs = [workers.submit(open_and_add, database_url, f"e{n}") for n in range(6)]
        assert sorted(job.result() for job in jobs) == [1, 2, 3, 4, 5, 6]


def test_a_foreign_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.commit()
    before = file.read_bytes()
    with pytest.raises(PoolError, match="the database has no pool"):
        Pool.open(file, create=False)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["shop.db"]


def test_a_database_of_an_older_release_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "pool.db"
    with Pool.open(path) as pool:
        pool.add([Example("a", {"text": "fine"}, "good")])
    with closing(sqlite3.connect(path)) as connection:
        for column in ("source_id", "method"):
            connection.execute(f"ALTER TABLE ecomfs_example DROP COLUMN {column}")
    made = Example("s", {"text": "well"}, "good", True, "a", "rewrite")
    with Pool.open(path, create=False) as pool:
        pool.add([made])
        assert pool.examples() == [Example("a", {"text": "fine"}, "good"), made]


def test_a_pool_opened_without_synthetic_examples_never_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "pool.db"
    made = Example("s", {"text": "well"}, "good", True, "a", "rewrite")
    with Pool.open(path) as pool:
        pool.add([Example("a", {"text": "fine"}, "good"), made])
    with Pool.open(path, synthetic=False) as pool:
        assert [e.id for e in pool.examples()] == [e.id for e in pool.snapshot()[1]] == ["a"]
