"""Databases opened by several processes at the same time."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ecomfs.core.sqlite import write_ahead

WORKERS, FILES = 3, 60


def open_and_write(folder: Path, worker: int) -> list[str]:
    """Open file after file in step with the other workers; what went wrong."""
    failures = []
    for number in range(FILES):
        (folder / f"{number}.ready.{worker}").touch()
        while not all((folder / f"{number}.ready.{w}").exists() for w in range(WORKERS)):
            pass
        connection = sqlite3.connect(folder / f"{number}.sqlite", timeout=30)
        try:
            write_ahead(connection)
            connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
            with connection:
                connection.execute("INSERT INTO t VALUES (1)")
        except sqlite3.OperationalError as error:
            failures.append(f"{number}: {error}")
        finally:
            connection.close()
    return failures


def test_processes_that_open_a_new_file_together_may_all_use_it(tmp_path: Path) -> None:
    # Without the retries about one opening in six is refused.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as workers:
        assert list(workers.map(open_and_write, [tmp_path] * WORKERS, range(WORKERS))) == [[]] * 3
    for number in range(FILES):
        connection = sqlite3.connect(tmp_path / f"{number}.sqlite")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (WORKERS,)
        connection.close()


def test_a_lock_that_is_held_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "held.sqlite"
    holder = sqlite3.connect(path)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(path, timeout=0)
    try:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead(other, seconds=0.05)
    finally:
        other.close()
        holder.close()


def test_another_failure_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("not a database " * 100)
    connection = sqlite3.connect(path)
    try:
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            write_ahead(connection)
    finally:
        connection.close()
