"""A cache of byte values that lasts between runs: one SQLite file in the user's cache folder.

A cache file may always be deleted. It never stops work: when it cannot be read or written, one
warning is logged and everything is computed. Every value is kept with a checksum, since SQLite does
not notice a flipped bit in one; a value that was altered is computed again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from platformdirs import user_cache_dir

from ecomfs.core.sqlite import BUSY_SECONDS, make_private, write_ahead

_log = logging.getLogger(__name__)
_LOOKUP = 400  # keys in one SELECT
_CHECK = 4  # bytes of a checksum

_WAL_PAGES = 4_000  # between checkpoints: keys are random, so each of them rewrites many pages

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scope (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS kept (
    scope INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID;
"""


def cache_folder() -> Path:
    """``$ECOMFS_CACHE``, or the user's cache folder of this platform."""
    return Path(os.environ.get("ECOMFS_CACHE") or user_cache_dir("ecomfs"))


class ByteCache:
    """A file of values, shared by threads and processes.

    A value is found by a scope (what computed it) and a key (the hash of what it was computed
    from).

    Args:
        path: the SQLite file.

    >>> import pathlib, tempfile
    >>> cache = ByteCache(pathlib.Path(tempfile.mkdtemp()) / "c.sqlite")
    >>> cache.put("model-1", {b"k": b"v"})
    >>> cache.get("model-1", [b"k", b"other"]), cache.get("model-2", [b"k"])
    ({b'k': b'v'}, {})
    >>> cache.close()
    """

    FILE = "cache.sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._owner = os.getpid()
        self._broken = False
        self._numbers: dict[str, int] = {}

    @classmethod
    def open(cls, folder: Path | None = None) -> Self:
        """The cache of a folder; ``None`` for :func:`cache_folder`."""
        return cls((folder or cache_folder()) / cls.FILE)

    def get(self, scope: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Stored values by key; keys that are not stored are left out."""
        found: dict[bytes, bytes] = {}
        with self._using() as connection:
            number = None if connection is None else self._number(connection, scope)
            if connection is None or number is None:
                return {}
            altered = []
            start_of = zlib.crc32(scope.encode())
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(part))
                for key, value in connection.execute(
                    f"SELECT key, value FROM kept WHERE scope = ? AND key IN ({marks})",
                    (number, *part),
                ):
                    if value[:_CHECK] == _checksum(start_of, key, value[_CHECK:]):
                        found[key] = value[_CHECK:]
                    else:
                        altered.append((number, key))
            if altered:
                _remove(connection, altered)
        return found

    def put(self, scope: str, values: Mapping[bytes, bytes]) -> None:
        """Store values by key; a key that is stored already keeps its value."""
        start_of = zlib.crc32(scope.encode())
        with self._using() as connection:
            if connection is None:
                return
            try:
                with connection:
                    number = self._number(connection, scope, make=True)
                    # In order, so that keys of one page come one after another.
                    rows = [
                        (number, key, _checksum(start_of, key, value) + value)
                        for key, value in sorted(values.items())
                    ]
                    connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?, ?)", rows)
            except BaseException:
                self._numbers.pop(scope, None)  # it may have been made in what was rolled back
                raise

    def discard(self, scope: str, keys: Sequence[bytes]) -> None:
        """Remove values; absent keys are ignored."""
        with self._using() as connection:
            number = None if connection is None else self._number(connection, scope)
            if connection is not None and number is not None:
                _remove(connection, [(number, key) for key in keys])

    def __len__(self) -> int:
        with self._using() as connection:
            if connection is not None:
                return int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])
        return 0

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection | None]:
        """The open connection; ``None`` after the file could not be read or written."""
        with self._lock:
            connection = None
            try:
                if not self._broken:
                    connection = self._open()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
            try:
                yield connection
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner != os.getpid():
            # A forked child must not touch its parent's connection, not even to close it.
            self._inherited, self._connection = self._connection, None
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False)
            try:
                write_ahead(connection)
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection, self._owner = connection, os.getpid()
            self._numbers.clear()
        return self._connection

    def _number(
        self, connection: sqlite3.Connection, scope: str, *, make: bool = False
    ) -> int | None:
        """The number of a scope in the file; ``None`` when it holds no values of the scope."""
        if scope not in self._numbers:
            if make:
                connection.execute("INSERT OR IGNORE INTO scope (name) VALUES (?)", (scope,))
            found = connection.execute("SELECT number FROM scope WHERE name = ?", (scope,))
            if (row := found.fetchone()) is None:
                return None
            self._numbers[scope] = row[0]
        return self._numbers[scope]

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        _log.warning("cache %s is not used: %s", self.path, error)


def _checksum(start_of: int, key: bytes, value: bytes) -> bytes:
    """Checksum of a value and its key, continued from the checksum of the scope's name."""
    return zlib.crc32(value, zlib.crc32(key, start_of)).to_bytes(_CHECK, "little")


def _remove(connection: sqlite3.Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    with connection:
        connection.executemany("DELETE FROM kept WHERE scope = ? AND key = ?", rows)
