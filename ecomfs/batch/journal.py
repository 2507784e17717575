"""The journal of a run: which rows are answered, kept on the disk beside the output.

Answers arrive in any order and are stored with the position of their row, many in one
transaction. A run that was killed finds every committed answer again; a row is answered once
however often it had to be asked, because positions are unique and identical rows share a key.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from ecomfs.batch.answer import checksum
from ecomfs.core.sqlite import write_ahead
from ecomfs.errors import JournalError, OutputError

FORMAT = 2
_IN_USE_SECONDS = 2.0
_LOOKUP = 400  # keys in one SELECT
_CACHE_KIB = 16_384
_WAL_PAGES = 4_000  # pages between checkpoints: fewer, and the index is written again and again

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answer (
    position INTEGER PRIMARY KEY, key BLOB NOT NULL, text TEXT NOT NULL, numbers BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answer_key ON answer (key);
"""


class Entry(NamedTuple):
    """One answer.

    Attributes:
        position: of the row, counted from 0 over the whole input.
        key: see :func:`ecomfs.batch.answer.row_key`.
        text, numbers: see :func:`ecomfs.batch.answer.pack`.
    """

    position: int
    key: bytes
    text: str
    numbers: bytes


class Journal:
    """A SQLite file (WAL, ``synchronous=FULL``), locked for this process while it is open.

    Args:
        path: the file; made if it is not there.

    Raises:
        JournalError: it is damaged, no journal, or another process has it open.
        OutputError: it cannot be written.

    >>> import tempfile
    >>> journal = Journal(Path(tempfile.mkdtemp()) / "out.csv.journal")
    >>> journal.commit([Entry(4, b"k", '["ok",null,{}]', b"")], through=5)
    >>> journal.known([b"k", b"other"]), journal.through, len(journal)
    ({b'k'}, 5, 1)
    >>> [entry.position for entry in journal.between(0, 10)]
    [4]
    >>> journal.close()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        found = path.exists() and path.stat().st_size > 0
        wal = path.with_name(f"{path.name}-wal")
        if not found and wal.exists() and wal.stat().st_size > 0:
            raise self._damaged("it is empty, its write-ahead log is not")  # SQLite would drop it
        with self._trouble():
            self._connection = sqlite3.connect(
                path, timeout=_IN_USE_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                # No other process may write the same output; a killed one leaves no lock behind.
                self._run("PRAGMA locking_mode = EXCLUSIVE")
                write_ahead(self._connection, _IN_USE_SECONDS)
                self._run("PRAGMA synchronous = FULL")
                self._run(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._run(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
                self._run("BEGIN IMMEDIATE")
                self._check(found)
                for statement in _SCHEMA.split(";"):
                    self._run(statement)
                self._run("COMMIT")
            except BaseException:
                self._connection.close()
                raise
        self.through = int(self.get("through") or 0)

    def get(self, name: str) -> Any:
        """A value kept with :meth:`put`; ``None`` when there is none."""
        with self._lock, self._trouble():
            row = self._run("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        try:
            return None if row is None else json.loads(row[0])
        except ValueError as error:
            raise self._damaged(f"{name} is not readable") from error

    def put(self, **values: Any) -> None:
        """Keep JSON values by name."""
        with self._lock, self._trouble(), self._transaction():
            self._put(values)

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these keys have an answer."""
        found: set[bytes] = set()
        with self._lock, self._trouble():
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(part))
                rows = self._run(f"SELECT key FROM answer WHERE key IN ({marks})", part)
                found.update(row[0] for row in rows)
        return found

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """Store answers, that every row before position ``through`` is done, and values as
        :meth:`put` does, in one transaction that is on the disk when this returns."""
        rows = [
            (e.position, e.key, e.text, e.numbers, checksum(e.position, e.key, e.text, e.numbers))
            for e in entries
        ]
        with self._lock, self._trouble(), self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO answer VALUES (?,?,?,?,?)", rows)
            if through != self.through:
                self._put({"through": through, **values})
        self.through = through

    def between(self, start: int, stop: int) -> list[Entry]:
        """Answers of the rows from ``start`` up to before ``stop``, in order."""
        return self._select("position >= ? AND position < ? ORDER BY position", (start, stop))

    def by_key(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Answers by key; absent ones are left out."""
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), _LOOKUP):
            part = keys[start : start + _LOOKUP]
            for entry in self._select(f"key IN ({','.join('?' * len(part))})", part):
                found[entry.key] = entry
        return found

    def __len__(self) -> int:
        with self._lock, self._trouble():
            return int(self._run("SELECT count(*) FROM answer").fetchone()[0])

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            self._connection.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        remove_journal(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, where: str, values: Sequence[Any]) -> list[Entry]:
        with self._lock, self._trouble():
            rows = self._run(
                f"SELECT position, key, text, numbers, crc FROM answer WHERE {where}", values
            ).fetchall()
        entries = []
        for *parts, crc in rows:
            entry = Entry(*parts)
            if crc != checksum(entry.position, entry.key, entry.text, entry.numbers):
                raise self._damaged(f"the answer of row {entry.position + 1} was altered")
            entries.append(entry)
        return entries

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _put(self, values: dict[str, Any]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(name, json.dumps(value)) for name, value in values.items()],
        )

    def _check(self, found: bool) -> None:
        """Refuse a file that is there and is not a whole journal of this format."""
        tables = {row[0] for row in self._run("SELECT name FROM sqlite_master")}
        if not found or (not tables and self._wal_started()):
            self._run(f"PRAGMA user_version = {FORMAT}")
            return
        version = self._run("PRAGMA user_version").fetchone()[0]
        if version != FORMAT or not {"meta", "answer", "answer_key"} <= tables:
            raise JournalError(
                f"{self.path}: this is no journal of this version of ecomfs",
                hint="move it away, or give --restart to replace it",
            )
        # quick_check leaves the index out; an answer under a wrong key is found by its checksum.
        said = self._run("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise self._damaged(str(said).splitlines()[-1])

    def _wal_started(self) -> bool:
        """Whether the file is no more than SQLite's first page: a run killed at its very start."""
        return bool(self._run("PRAGMA page_count").fetchone()[0] <= 1)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._run("ROLLBACK")
            raise

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._meaning(error) from error

    def _meaning(self, error: sqlite3.Error) -> OutputError:
        code = _code(error)
        if code in _LOCKED:
            return JournalError(
                f"{self.path}: another run is writing this output",
                hint="wait for it, or choose another -o",
            )
        if code == sqlite3.SQLITE_FULL or _full(self.path.parent):
            return OutputError(
                f"{self.path}: the disk is full",
                hint="free some space; the same command then goes on",
            )
        # Our statements are right: what SQLite cannot make sense of is the file.
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            return self._damaged(str(error))
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            why = "its folder does not exist, or may not be written"
            return OutputError(f"{self.path}: {why}", hint="choose another folder with -o")
        return OutputError(f"{self.path}: {error}")

    def _damaged(self, how: str) -> JournalError:
        return JournalError(
            f"{self.path}: the journal is damaged ({how})",
            hint="its answers cannot be trusted: --restart starts the run anew",
        )


def drop_journal(path: Path) -> None:
    """Delete a journal, whole or damaged, unless a living run has it open.

    Raises:
        JournalError: another run has it open.
        OutputError: it cannot be deleted.
    """
    if path.exists():
        try:
            Journal(path).close()
        except JournalError as error:
            if _code(error.__cause__) in _LOCKED:
                raise
    remove_journal(path)


_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 for other errors."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _full(folder: Path) -> bool:
    """Whether a disk error came from a full disk: SQLite calls some of them I/O errors."""
    try:
        stats = os.statvfs(folder)
    except (AttributeError, OSError):
        return False
    return stats.f_bavail * stats.f_frsize < 65_536


def remove_journal(path: Path) -> None:
    """Delete a journal and what SQLite keeps beside it.

    Raises:
        OutputError: it cannot be deleted.
    """
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        try:
            path.with_name(name).unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO)
            raise OutputError(f"{path.with_name(name)}: cannot be removed: {why}") from error
