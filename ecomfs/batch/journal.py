"""The journal of a run: its finished predictions, in a file beside the output.

Predictions arrive in any order and are stored with the position of their row, many per transaction.
A run that was killed resumes with all committed predictions. Positions are unique and identical
rows share a key, so a row has one prediction. Predictions are stored as JSON and numbers, never as
pickle, because loading a file must not run code.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sqlite3
import sys
import threading
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import MISSING, fields
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from ecomfs.core.sqlite import make_private, write_ahead
from ecomfs.errors import JournalError, JournalInUseError, OutputError
from ecomfs.types import Prediction, Row, Status, TemplateRef

FORMAT = 3
KEY_BYTES = 16
_IN_USE_SECONDS = 2.0
_LOOKUP = 400  # keys in one SELECT
_CACHE_KIB = 16_384
_WAL_PAGES = 4_000  # pages between checkpoints; with fewer, index pages are rewritten often

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answer (
    position INTEGER PRIMARY KEY, key BLOB NOT NULL, text TEXT NOT NULL, numbers BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answer_key ON answer (key);
"""


# json.dumps creates a new encoder for every call with options.
_as_compact_text = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

_MEASURED = ("prompt_tokens", "cached_tokens", "label_mass", "novelty")
"""Numbers per prediction besides the probabilities. They are stored apart from the text, so that
most rows of a run share one of a few texts, which are encoded and decoded once."""
_APART = frozenset({"id", "probabilities", "template", "status", "stages", *_MEASURED})
_PLAIN = tuple(
    (f.name, f.default if f.default is not MISSING else None)
    for f in fields(Prediction)
    if f.name not in _APART
)
_plain_values = attrgetter(*(name for name, _ in _PLAIN))
_measured_values = attrgetter(*_MEASURED)
_TEXTS = 1024
"""Number of decoded texts kept in memory, if they are no longer than:"""
_LONGEST = 4096
_STATUS = {str(status): status for status in Status}


def row_key(values: Row) -> bytes:
    """The key of a row: a hash of its fields. Identical rows have the same key.

    >>> row_key({"text": "fits"}) == row_key({"text": "fits"}) != row_key({"text": "fits "})
    True
    """
    try:
        text = to_json(values, inf_nan_mode="constants", fallback=str)
    except ValueError:  # half a surrogate pair
        text = json.dumps(values, default=str).encode()
    return blake2b(text, digest_size=KEY_BYTES).digest()


def pack(
    prediction: Prediction, names: Sequence[str], *, stages: bool = False
) -> tuple[str, bytes]:
    """Encode a prediction, without its id, as JSON text and float64 numbers: prompt tokens, cached
    tokens, label mass, novelty (NaN if unknown), and the probabilities in the order of ``names``.

    Args:
        stages: also keep the distribution after each step; these are many numbers.

    >>> p = Prediction("r1", "yes", {"no": 0.25, "yes": 0.75}, prompt_tokens=9)
    >>> text, numbers = pack(p, ["no", "yes"])
    >>> text
    '["ok",null,[],{"label":"yes"}]'
    >>> unpack(text, numbers, ["no", "yes"], "r1") == p
    True
    """
    found = prediction.probabilities
    kept = tuple(prediction.stages) if stages and found else ()
    numbers = array("d", [math.nan if v is None else v for v in _measured_values(prediction)])
    if found:
        numbers.extend([found[name] for name in names])
    for stage in kept:
        numbers.extend(prediction.stages[stage])
    if sys.byteorder == "big":
        numbers.byteswap()
    values = prediction.status, prediction.template, kept, _plain_values(prediction)
    short = len(prediction.note) + len(prediction.error) <= _LONGEST
    try:
        text = _text(*values) if short else _text.__wrapped__(*values)
    except TypeError:  # a list instead of a tuple
        text = _text.__wrapped__(*values)
    return text, numbers.tobytes()


@lru_cache(_TEXTS)
def _text(
    status: Status, template: TemplateRef | None, stages: tuple[str, ...], values: tuple[Any, ...]
) -> str:
    rest = {
        name: value
        for (name, default), value in zip(_PLAIN, values, strict=True)
        if value is not default and value != default
    }
    head = [str(status), [template.name, template.sha] if template else None, stages]
    return _as_compact_text([*head, rest])


def unpack(text: str, numbers: bytes, names: Sequence[str], id_: str) -> Prediction:
    """Decode a prediction, for a row with this id.

    Raises:
        JournalError: the data are not a prediction over these labels.
    """
    try:
        read = _read_text if len(text) <= _LONGEST else _read_text.__wrapped__
        status, template, stages, rest = read(text)
        values = array("d", numbers)
        if sys.byteorder == "big":
            values.byteswap()
        size, first = len(names), len(_MEASURED)
        if len(values) - first not in (0, size * (1 + len(stages))):
            raise ValueError(f"{len(values) - first} numbers for {size} labels")
        prompt_tokens, cached_tokens, label_mass, novelty = values[:first]
        found = values[first:]
        return Prediction(
            id=id_,
            probabilities=dict(zip(names, found, strict=False)),
            status=status,
            template=template,
            stages={
                stage: tuple(found[n * size : (n + 1) * size]) for n, stage in enumerate(stages, 1)
            },
            prompt_tokens=int(prompt_tokens),
            cached_tokens=int(cached_tokens),
            label_mass=None if math.isnan(label_mass) else label_mass,
            novelty=None if math.isnan(novelty) else novelty,
            **rest,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise JournalError(
            f"the journal has a prediction that cannot be decoded: {error}",
            hint="start again with --restart",
        ) from error


@lru_cache(_TEXTS)
def _read_text(text: str) -> tuple[Status, TemplateRef | None, list[str], Mapping[str, Any]]:
    status, template, stages, rest = from_json(text)
    for name, value in rest.items():
        if isinstance(value, list):
            rest[name] = tuple(value)
    rest.setdefault("label", None)
    return _STATUS[status], TemplateRef(*template) if template else None, stages, rest


class Entry(NamedTuple):
    """One prediction in the journal.

    Attributes:
        position: position of the row in the input, from 0.
        key: see :func:`row_key`.
        text, numbers: see :func:`pack`.
    """

    position: int
    key: bytes
    text: str
    numbers: bytes

    def checksum(self) -> int:
        """CRC-32 of the entry: SQLite does not detect a flipped bit in a value."""
        return zlib.crc32(b"%d" % self.position + self.key + self.text.encode() + self.numbers)


class Journal(AbstractContextManager["Journal"]):
    """A SQLite file (WAL, ``synchronous=FULL``), locked for this process while it is open.

    Args:
        path: the file; created if it does not exist.

    Raises:
        JournalError: it is damaged, not a journal, or open in another process.
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
            raise self._damaged("it is empty, but its write-ahead log is not")  # SQLite drops it
        make_private(path)
        with self._opened():
            self._connection = sqlite3.connect(
                path, timeout=_IN_USE_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                # Only one process may write an output; a killed process leaves no lock.
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                write_ahead(self._connection, _IN_USE_SECONDS)
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
                self._connection.execute("BEGIN IMMEDIATE")
                self._check(found)
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.close()
                raise
        try:
            self.through = self.get("through") or 0
            self.identity = self.get("identity")
            """The identity of the run; ``None`` for a new journal."""
            if not isinstance(self.through, int):
                raise self._damaged("the position up to which rows are done is missing")
        except BaseException:
            self._connection.close()
            raise

    def get(self, name: str) -> Any:
        """A value stored by :meth:`commit`, or ``None``."""
        with self._opened():
            row = self._connection.execute(
                "SELECT value FROM meta WHERE name = ?", (name,)
            ).fetchone()
        try:
            return None if row is None else json.loads(row[0])
        except (ValueError, TypeError) as error:
            raise self._damaged(f"{name} is not readable") from error

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """The keys among these that have a prediction."""
        found: set[bytes] = set()
        with self._opened():
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(part))
                rows = self._connection.execute(
                    f"SELECT key FROM answer WHERE key IN ({marks})", part
                )
                found.update(row[0] for row in rows)
        return found

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """Store predictions, the position before which all rows are done (``through``), and JSON
        values by name, in one transaction that is on disk when this returns."""
        rows = [(*entry, entry.checksum()) for entry in entries]
        named = [
            (name, json.dumps(value)) for name, value in (values | {"through": through}).items()
        ]
        with self._opened(write=True):
            self._connection.executemany("INSERT OR IGNORE INTO answer VALUES (?,?,?,?,?)", rows)
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", named)
        self.through = through

    def between(self, start: int, stop: int) -> list[Entry]:
        """Predictions of the rows from ``start`` up to, but not including, ``stop``, in order."""
        return self._select("position >= ? AND position < ? ORDER BY position", (start, stop))

    def by_key(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Key → prediction; missing keys are left out."""
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), _LOOKUP):
            part = keys[start : start + _LOOKUP]
            for entry in self._select(f"key IN ({','.join('?' * len(part))})", part):
                found[entry.key] = entry
        return found

    def __len__(self) -> int:
        with self._opened():
            return int(self._connection.execute("SELECT count(*) FROM answer").fetchone()[0])

    def close(self) -> None:
        """Close the file; it may be closed more than once."""
        with self._lock:
            self._connection.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        remove_journal(self.path)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, where: str, values: Sequence[Any]) -> list[Entry]:
        with self._opened():
            rows = self._connection.execute(
                f"SELECT position, key, text, numbers, crc FROM answer WHERE {where}", values
            ).fetchall()
        entries = []
        for *parts, crc in rows:
            entry = Entry(*parts)
            try:
                whole = crc == entry.checksum()
            except (TypeError, AttributeError):  # the type of a value was altered
                whole = False
            if not whole:
                raise self._damaged(f"the answer of row {entry.position + 1} was altered")
            entries.append(entry)
        return entries

    def _check(self, found: bool) -> None:
        """Refuse an existing file that is not an intact journal of this format."""
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
        if not found or (not tables and self._wal_started()):
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")
            return
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT or not {"meta", "answer", "answer_key"} <= tables:
            raise JournalError(
                f"{self.path} is not a journal of this version of ecomfs",
                hint="move it away, or replace it with --restart",
            )
        # quick_check skips the index; the checksum finds a prediction under a wrong key.
        said = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise self._damaged(str(said).splitlines()[-1])

    def _wal_started(self) -> bool:
        """Whether the file has only SQLite's first page: the run was killed at its start."""
        return bool(self._connection.execute("PRAGMA page_count").fetchone()[0] <= 1)

    @contextmanager
    def _opened(self, *, write: bool = False) -> Iterator[None]:
        """Hold the lock, in a transaction if something is written; convert errors of SQLite."""
        with self._lock:
            try:
                if write:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield
                if write:
                    self._connection.execute("COMMIT")
            except BaseException as error:
                if write:
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._meaning(error) from error
                raise

    def _meaning(self, error: sqlite3.Error) -> OutputError:
        code = _code(error)
        if not code:  # of Python's own: a value is not what its column holds
            return self._damaged("a value is not text")
        if code in _LOCKED:
            return JournalInUseError(
                f"{self.path}: another run is writing this output",
                hint="wait for it, or choose another -o",
            )
        if code == sqlite3.SQLITE_FULL or _full(self.path.parent):
            return OutputError(
                f"{self.path}: the disk is full",
                hint="free some space, then run the same command again",
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
            hint="start again with --restart: its predictions cannot be trusted",
        )


def drop_journal(path: Path) -> None:
    """Delete a journal, intact or damaged, unless another run has it open.

    Raises:
        JournalError: another run has it open, or it is another kind of database.
        OutputError: it cannot be deleted.
    """
    if path.exists():
        if _is_other_database(path):
            raise JournalError(
                f"{path} is a database, such as a pool, and not a journal",
                hint="move it away, or choose another -o",
            )
        try:
            Journal(path).close()
        except JournalInUseError:
            raise
        except JournalError:
            pass
    remove_journal(path)


def _is_other_database(path: Path) -> bool:
    """Whether a file is an intact database without the tables of a journal."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in found}
    except sqlite3.Error:  # damaged, or open in another run
        return False
    return bool(tables) and "meta" not in tables


_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 for other errors."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _full(folder: Path) -> bool:
    """Whether the disk is full: SQLite reports this as an I/O error in some cases."""
    try:
        stats = os.statvfs(folder)
    except (AttributeError, OSError):
        return False
    return stats.f_bavail * stats.f_frsize < 65_536


def remove_journal(path: Path) -> None:
    """Delete a journal and the auxiliary files of SQLite.

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
