"""SQLite settings: files that only their user may read, and write-ahead logging for files that
several processes open."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Protocol

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

BUSY_SECONDS = 30
"""Seconds that a writer waits for another one."""


class _Executes(Protocol):
    def execute(self, sql: str, /) -> object: ...


def make_private(path: Path) -> None:
    """Make a file that only its user may read; an existing file is not changed.

    SQLite alone would follow the umask. It gives its log files the mode of the database. If the
    file cannot be made, nothing happens: SQLite's own error says why.

    >>> import stat, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "cache.sqlite"
    >>> make_private(path)
    >>> oct(stat.S_IMODE(path.stat().st_mode))
    '0o600'
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def write_ahead(connection: _Executes, seconds: float = BUSY_SECONDS) -> None:
    """Switch a database to write-ahead logging, so that readers and a writer do not wait for each
    other.

    SQLite's own busy time-out does not cover the switch: of two processes that open a new file
    together, one gets an error at once (https://sqlite.org/c3ref/busy_handler.html, "deadlock").
    This function retries.

    Raises:
        sqlite3.OperationalError: still locked after ``seconds``, or another failure.

    """
    for attempt in Retrying(
        retry=retry_if_exception(_locked),
        wait=wait_random(0.002, 0.02),
        stop=stop_after_delay(seconds),
        reraise=True,
    ):
        with attempt:
            connection.execute("PRAGMA journal_mode = WAL")


def _locked(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return (
        isinstance(error, sqlite3.OperationalError)
        and code is not None
        and (code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
    )
