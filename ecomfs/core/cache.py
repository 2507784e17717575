"""Byte values kept between runs, in one SQLite file of the user's cache folder.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from platformdirs import user_cache_dir

from ecomfs.core.sqlite import BUSY_SECONDS, make_private, write_ahead

_log = logging.getLogger(__name__)
_LOOKUP = 400  # keys in one SELECT
_CHECK = 4  # bytes of a checksum

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    scope TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID
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

    @classmethod
    def open(cls, folder: Path | None = None) -> Self:
        """The cache of a folder; ``None`` for :func:`cache_folder`."""
        return cls((folder or cache_folder()) / cls.FILE)

    def get(self, scope: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Stored values by key, without the absent ones."""
        found: dict[bytes, bytes] = {}
        with self._lock:
            try:
                connection = self._open()
                if connection is None:
                    return {}
                altered = []
                for start in range(0, len(keys), _LOOKUP):
                    part = keys[start : start + _LOOKUP]
                    marks = ",".join("?" * len(part))
                    for key, value in connection.execute(
                        f"SELECT key, value FROM entry WHERE scope = ? AND key IN ({marks})",
                        (scope, *part),
                    ):
                        if value[:_CHECK] == _checksum(scope, key, value[_CHECK:]):
                            found[key] = value[_CHECK:]
                        else:
                            altered.append((scope, key))
                if altered:
                    _remove(connection, altered)
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return found

    def put(self, scope: str, values: Mapping[bytes, bytes]) -> None:
        """Store values by key; existing ones stay."""
        rows = [(scope, key, _checksum(scope, key, v) + v) for key, v in values.items()]
        with self._lock:
            try:
                connection = self._open()
                if connection is not None:
                    with connection:
                        connection.executemany("INSERT OR IGNORE INTO entry VALUES (?, ?, ?)", rows)
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def discard(self, scope: str, keys: Sequence[bytes]) -> None:
        """Remove values; absent keys are ignored."""
        with self._lock:
            try:
                connection = self._open()
                if connection is not None:
                    _remove(connection, [(scope, key) for key in keys])
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def __len__(self) -> int:
        with self._lock:
            try:
                connection = self._open()
                if connection is None:
                    return 0
                return int(connection.execute("SELECT count(*) FROM entry").fetchone()[0])
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                return 0

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        if self._broken:
            return None
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
                connection.execute(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection, self._owner = connection, os.getpid()
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        _log.warning("cache %s is not used: %s", self.path, error)


def _checksum(scope: str, key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(scope.encode() + key)).to_bytes(_CHECK, "little")


def _remove(connection: sqlite3.Connection, rows: Sequence[tuple[str, bytes]]) -> None:
    with connection:
        connection.executemany("DELETE FROM entry WHERE scope = ? AND key = ?", rows)
