"""Outputs that are links, pipes, standard output, protected files, or inputs."""

from __future__ import annotations

import io
import os
import re
import socket
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ecomfs.errors import ConfigError, OutputError
from ecomfs.io import (
    AtomicWriter,
    InputFile,
    check_target,
    is_stream,
    open_writer,
    reading,
    standard_output,
    write_text,
)
from ecomfs.io.target import temporary_name

ROWS = "id,text\n1,fine\n"


def by_rows(path: Path) -> None:
    with AtomicWriter(path, ["id", "text"]) as out:
        out.write([["1", "fine"]])


def by_format(path: Path) -> None:
    out = open_writer(path, ["id", "text"])
    out.write([["1", "fine"]])
    out.commit()


def by_text(path: Path) -> None:
    write_text(path, ROWS)


every_writer = pytest.mark.parametrize("write", [by_rows, by_format, by_text])
Write = Callable[[Path], None]


@every_writer
def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path, write: Write) -> None:
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real.csv"
    real.write_text("old")
    middle, link = tmp_path / "middle.csv", tmp_path / "link.csv"
    middle.symlink_to(Path("there") / "real.csv")
    link.symlink_to("middle.csv")
    write(link)
    assert link.is_symlink()
    assert middle.is_symlink()
    assert real.read_text() == ROWS
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "link.csv",
        "middle.csv",
        "real.csv",
        "there",
    ]


@every_writer
def test_a_link_to_nothing_makes_the_file_it_names(tmp_path: Path, write: Write) -> None:
    (tmp_path / "link.csv").symlink_to("new.csv")
    write(tmp_path / "link.csv")
    assert (tmp_path / "new.csv").read_text() == ROWS
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="loop"):
        write(tmp_path / "loop")


@every_writer
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_a_file_is_kept(tmp_path: Path, write: Write, mode: int) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert path.read_text() == ROWS
    assert stat.S_IMODE(path.stat().st_mode) == mode


@every_writer
def test_a_new_file_is_for_its_user_alone(tmp_path: Path, write: Write) -> None:
    old = os.umask(0o022)
    try:
        write(tmp_path / "out.csv")
        write_text(tmp_path / "card.yaml", "no row text", private=False)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "card.yaml").stat().st_mode) == 0o644


@every_writer
def test_a_link_under_a_guessed_temporary_name_is_not_followed(
    tmp_path: Path, write: Write
) -> None:
    """The names that a reader of the source could guess: the process, a counter, none."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for guess in (str(os.getpid()), "0", "1", "tmp"):
        for end in ("tmp", "part", "partial"):
            (tmp_path / f".out.csv.{guess}.{end}").symlink_to(victim)
    write(tmp_path / "out.csv")
    assert victim.read_text() == "kept"
    assert not (tmp_path / "out.csv").is_symlink()


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    names = {temporary_name(tmp_path / "out.csv").name for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"\.out\.csv\.[0-9a-f]{16}\.tmp", name) for name in names)


def test_a_link_laid_under_the_drawn_name_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    laid = tmp_path / ".out.csv.drawn.tmp"
    laid.symlink_to(victim)
    monkeypatch.setattr("ecomfs.io.target.temporary_name", lambda path: laid)
    with pytest.raises(OutputError, match="cannot be written: File exists"):
        by_text(tmp_path / "out.csv")
    assert victim.read_text() == "kept"
    assert laid.is_symlink()


def test_the_replacement_of_a_private_file_is_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o600)
    writer = AtomicWriter(path, ["id"])
    (made,) = [p for p in tmp_path.iterdir() if p != path]
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    writer.discard()
    assert path.read_text() == "old"


@every_writer
def test_all_names_of_a_file_have_the_result(tmp_path: Path, write: Write) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("old and longer than what comes" * 10)
    os.link(one, other)
    write(one)
    assert one.samefile(other)
    assert other.read_text() == ROWS


@every_writer
def test_a_pipe_is_written_through_and_stays(tmp_path: Path, write: Write) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write(pipe)
    reader.join()
    assert found == [ROWS]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]
    assert is_stream(pipe)


@every_writer
def test_a_socket_is_refused(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as node:
        node.bind("node")
        with pytest.raises(OutputError, match="node: neither a file nor a pipe"):
            write(Path("node"))
    assert stat.S_ISSOCK(Path("node").stat().st_mode)


@every_writer
def test_a_dash_is_standard_output(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    with standard_output():
        print("a summary")
        write(Path("-"))
    assert out.buffer.getvalue().decode() == ROWS  # type: ignore[attr-defined]
    assert errors.getvalue() == "a summary\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["pool.db-wal", "pool.db-shm", "pool.db-journal"])
@every_writer
def test_a_log_that_a_database_may_write_is_no_output(
    tmp_path: Path, write: Write, name: str
) -> None:
    with sqlite3.connect(tmp_path / "pool.db") as connection:
        connection.execute("CREATE TABLE example (id)")
    connection.close()
    with pytest.raises(OutputError, match="is a database"):
        write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["pool.db"]


@pytest.mark.parametrize("name", ["pool.db", "table.csv", "link.csv", "pool.db-wal"])
@every_writer
def test_a_database_is_never_replaced(tmp_path: Path, write: Write, name: str) -> None:
    pool = tmp_path / ("table.csv" if name == "table.csv" else "pool.db")
    with sqlite3.connect(pool) as connection:
        connection.execute("CREATE TABLE example (id)")
    connection.close()
    (tmp_path / "link.csv").symlink_to(pool)
    if name.endswith("-wal"):
        (tmp_path / name).write_text("log")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(OutputError, match="is a database"):
        write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


@every_writer
def test_a_database_of_duckdb_is_never_replaced(tmp_path: Path, write: Write) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "shop.csv"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE sold (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is a database"):
        write(path)
    assert path.read_bytes() == before


@every_writer
def test_a_pool_whose_rows_are_all_in_its_log_is_never_replaced(
    tmp_path: Path, write: Write
) -> None:
    (tmp_path / "pool.db").touch()
    (tmp_path / "pool.db-wal").write_bytes(b"rows")
    with pytest.raises(OutputError, match="is a database"):
        write(tmp_path / "pool.db")


@pytest.mark.parametrize("kind", ["itself", "symbolic link", "hard link", "other spelling"])
@every_writer
def test_a_file_that_is_read_is_never_an_output(tmp_path: Path, write: Write, kind: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text("kept")
    output = tmp_path / "out.csv"
    if kind == "itself":
        output = source
    elif kind == "symbolic link":
        output.symlink_to(source)
    elif kind == "hard link":
        os.link(source, output)
    else:
        (tmp_path / "sub").mkdir()
        output = tmp_path / "sub" / ".." / "in.csv"
    with (
        reading([InputFile("--examples", source)]),
        pytest.raises(ConfigError, match="and --examples are the same file"),
    ):
        write(output)
    assert source.read_text() == "kept"
    check_target(output)  # after the run it is a file like others


def test_a_failed_output_never_replaces_an_input(tmp_path: Path) -> None:
    source = tmp_path / "out.csv.partial"
    source.write_text("kept")
    with (
        reading([InputFile("the input", source)]),
        pytest.raises(RuntimeError) as stopped,
        AtomicWriter(tmp_path / "out.csv", ["id"]),
    ):
        raise RuntimeError("stopped")
    assert source.read_text() == "kept"
    kept = Path(stopped.value.__notes__[0].rpartition(" ")[2])
    assert kept != source
    assert kept.read_text() == "id\n"
