"""Vectors kept between runs, in one SQLite file of the user's cache folder.

A vector is found by embedder fingerprint, side (query or example) and the SHA-256 of its text;
the text itself is not stored. A cache may always be deleted. It never stops work: when the
file cannot be read or written, one warning is logged and every vector is computed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from platformdirs import user_cache_dir

from ecomfs.pool.embedder import Embedder, Vectors, unit_rows

_log = logging.getLogger(__name__)
_BATCH = 256  # texts computed and stored at a time: what a killed run loses at most
_LOOKUP = 400  # keys in one SELECT

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vector (
    embedder TEXT NOT NULL, side INTEGER NOT NULL, text BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (embedder, side, text)
) WITHOUT ROWID
"""


def cache_folder() -> Path:
    """``$ECOMFS_CACHE``, or the user's cache folder of this platform."""
    return Path(os.environ.get("ECOMFS_CACHE") or user_cache_dir("ecomfs"))


class EmbeddingCache:
    """A file of vectors, shared by any number of threads and processes.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._owner = os.getpid()
        self._broken = False

    @classmethod
    def open(cls, folder: Path | None = None) -> EmbeddingCache:
        """The cache of a folder; ``None`` for :func:`cache_folder`."""
        return cls((folder or cache_folder()) / "embeddings.sqlite")

    def get(self, embedder: str, keys: Sequence[bytes], *, query: bool) -> dict[bytes, bytes]:
        """Stored vectors by text key; absent ones are left out."""
        found: dict[bytes, bytes] = {}
        with self._lock:
            try:
                connection = self._open()
                if connection is None:
                    return {}
                for start in range(0, len(keys), _LOOKUP):
                    part = keys[start : start + _LOOKUP]
                    marks = ",".join("?" * len(part))
                    found |= connection.execute(
                        "SELECT text, value FROM vector"
                        f" WHERE embedder = ? AND side = ? AND text IN ({marks})",
                        (embedder, int(query), *part),
                    )
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return found

    def put(self, embedder: str, vectors: Mapping[bytes, bytes], *, query: bool) -> None:
        """Store vectors by text key; ones that are there already stay."""
        rows = [(embedder, int(query), key, value) for key, value in vectors.items()]
        with self._lock:
            try:
                connection = self._open()
                if connection is not None:
                    with connection:
                        connection.executemany(
                            "INSERT OR IGNORE INTO vector VALUES (?, ?, ?, ?)", rows
                        )
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def __len__(self) -> int:
        with self._lock:
            try:
                connection = self._open()
                if connection is None:
                    return 0
                return int(connection.execute("SELECT count(*) FROM vector").fetchone()[0])
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
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
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
        _log.warning("embedding cache %s is not used: %s", self.path, error)


class CachedEmbedder:
    """An embedder that remembers.

    Vectors are kept as float16 and also rounded to it when they are fresh, so that a result
    never depends on what the cache held.
    """

    def __init__(self, embedder: Embedder, cache: EmbeddingCache) -> None:
        self.embedder = embedder
        self.cache = cache

    @property
    def fingerprint(self) -> str:
        """The embedder's own, and the rounding."""
        return f"{self.embedder.fingerprint}-f16"

    @property
    def dimensions(self) -> int:
        """As the embedder's."""
        return self.embedder.dimensions

    def fit(self, texts: Sequence[str]) -> CachedEmbedder:
        """The fitted embedder with the same cache."""
        fitted = self.embedder.fit(texts)
        return self if fitted is self.embedder else CachedEmbedder(fitted, self.cache)

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """As the embedder's, rounded to float16; each distinct text is computed once."""
        name = self.fingerprint
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest() for t in texts]
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        known = self.cache.get(name, list(first), query=query)
        size = 2 * self.dimensions
        known = {key: value for key, value in known.items() if len(value) == size}
        missing = [key for key in first if key not in known]
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            vectors = self.embedder.embed([texts[first[key]] for key in part], query=query)
            rounded = vectors.astype("<f2")
            fresh = {key: row.tobytes() for key, row in zip(part, rounded, strict=True)}
            self.cache.put(name, fresh, query=query)
            known |= fresh
        stored = np.frombuffer(b"".join(known[key] for key in keys), dtype="<f2")
        return unit_rows(stored.reshape(len(texts), self.dimensions).astype(np.float32))
