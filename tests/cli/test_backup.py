"""Backup and restore of a database in use."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from ecomfs.cli import run
from ecomfs.pool import Pool
from ecomfs.types import Example


def added(pool: Pool, *ids: str) -> None:
    for id in ids:
        pool.add([Example(id, {"text": id}, "x")])


def test_a_backup_is_of_one_moment_and_comes_back(tmp_path: Path) -> None:
    file, kept = tmp_path / "shop.db", tmp_path / "kept.db"
    with Pool.open(file) as pool:
        added(pool, "a", "b")
        done = threading.Event()

        def write() -> None:
            for i in range(1000):
                if done.is_set():
                    return
                added(pool, f"w{i}")

        writer = threading.Thread(target=write)
        writer.start()
        assert run(["backup", str(file), str(kept)]) == 0
        done.set()
        writer.join()
        with Pool.open(kept, create=False) as copy:
            ids = [e.id for e in copy.examples()]
            assert ids[:2] == ["a", "b"]
            assert len(ids) == copy.version
        assert run(["restore", str(kept), str(file), "--replace"]) == 0
        assert [e.id for e in pool.examples()] == ids  # the open pool reads the new file
    assert (tmp_path / "shop.db.old").is_file()


def test_files_that_cannot_be_backed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, kept = tmp_path / "shop.db", tmp_path / "kept.db"
    assert run(["backup", str(file), str(kept)]) == 2
    assert "no such file" in capsys.readouterr().err
    file.write_text("no database, but long enough to look at" * 40)
    assert run(["backup", str(file), str(kept)]) == 2
    assert "not a database" in capsys.readouterr().err
    assert not kept.exists()
    with Pool.open(tmp_path / "good.db") as pool:
        added(pool, "a")
    assert run(["restore", str(tmp_path / "good.db"), str(file)]) == 2
    assert "--replace" in capsys.readouterr().err
    assert run(["backup", str(tmp_path / "good.db"), str(tmp_path / "no" / "x.db")]) == 2
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_only_a_database_is_replaced_and_what_was_kept_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, kept = tmp_path / "shop.db", tmp_path / "kept.db"
    with Pool.open(file) as pool:
        added(pool, "a")
    assert run(["backup", str(file), str(kept)]) == 0
    (tmp_path / "rows.csv").write_text("text\nfine\n")
    assert run(["restore", str(kept), str(tmp_path / "rows.csv"), "--replace"]) == 2
    assert "is not an SQLite database" in capsys.readouterr().err
    assert (tmp_path / "rows.csv").read_text() == "text\nfine\n"
    (tmp_path / "link.db").symlink_to(kept)
    assert run(["restore", str(kept), str(tmp_path / "link.db"), "--replace"]) == 2
    assert "the same file" in capsys.readouterr().err
    file.chmod(0o640)
    for _ in range(2):
        assert run(["restore", str(kept), str(file), "--replace"]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (tmp_path / "shop.db.old").is_file()
    assert (tmp_path / "shop.db.old2").is_file()


def test_the_log_of_a_deleted_database_is_not_played_into_the_restored_one(tmp_path: Path) -> None:
    file, kept, log = tmp_path / "shop.db", tmp_path / "kept.db", tmp_path / "shop.db-wal"
    with Pool.open(file) as pool:
        added(pool, "a")
        assert run(["backup", str(file), str(kept)]) == 0
        added(pool, "b")
        left = log.read_bytes()
    file.unlink()
    log.write_bytes(left)
    assert run(["restore", str(kept), str(file)]) == 0
    with Pool.open(file, create=False) as pool:
        assert [e.id for e in pool.examples()] == ["a"]
    assert (tmp_path / "shop.db.old-wal").is_file()
