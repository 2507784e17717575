"""Opens the database of a pool, runs its transactions, and explains its errors.

Two databases are supported, SQLite (a file, or memory) and PostgreSQL. A write transaction takes
its lock when it begins (``BEGIN IMMEDIATE``; a row lock in PostgreSQL), so that two writers
queue for the next version instead of computing the same one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from ecomfs.core.messages import mask_passwords
from ecomfs.core.sqlite import make_private, write_ahead
from ecomfs.errors import ConfigError, DatabaseError, PoolError
from ecomfs.pool.tables import lock_schema, metadata

BUSY_SECONDS = 60

# Words of a database's error message (lower case) → hint for the user.
_HINTS = (
    ("disk is full", "free some space, then run again; nothing of this change was stored"),
    ("no space left", "free some space, then run again; nothing of this change was stored"),
    ("database is locked", f"another process held it for over {BUSY_SECONDS} s; try again later"),
    ("unable to open", "check that the folder exists and is writable"),
    ("readonly database", "the file or its folder is read-only; change its permissions"),
    ("read-only", "the database is read-only; use another one or change its permissions"),
    ("not a database", "the file is not SQLite; give another path"),
    ("malformed", "the file is damaged; restore a backup"),
    ("disk i/o error", "the disk or the network share failed; check it, then run again"),
    ("password authentication", "check the user and the password in the URL"),
    ("does not exist", "create it first, or correct the URL"),
    ("permission denied", "ask the owner of the database for permission"),
    ("connection", "check that the server runs and that host and port are right"),
)


class Database:
    """An open SQLite or PostgreSQL database with the tables of pools.

    Args:
        url: ``sqlite:///file.db``, ``sqlite://`` (memory), ``postgresql+psycopg://…``, or the
            path of an SQLite file.
        create: create the SQLite file if it does not exist; if false, that is an error.

    Raises:
        PoolError: the database cannot be opened.
        ConfigError: the URL names another kind of database.
    """

    def __init__(self, url: str | Path, *, create: bool = True) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.name = mask_passwords(self.url.render_as_string(hide_password=True))
        memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        if self.is_sqlite and not memory:
            file = Path(at := str(self.url.database))
            if file.is_dir():
                raise PoolError(
                    f"{file}: this is a folder, not a database", hint="name a file in it"
                )
            if not create and not file.is_file():
                raise PoolError(f"{at}: no such pool database", hint="add examples to make one")
            if not create and not _holds_pools(file):
                raise PoolError(
                    f"{at}: the database has no pool",
                    hint="create one with: ecomfs examples import",
                )
        # All threads share one connection to an in-memory database, one at a time.
        self._turn: AbstractContextManager[Any] = threading.RLock() if memory else nullcontext()
        self._create = create
        self._memory = memory
        self._open = threading.local()  # this thread's write transaction, while it runs
        self._process = os.getpid()
        self._engine = self._make_engine()
        with self._explained():
            self._make_tables()
        self._create = False  # a file that is deleted while open is not created again, empty

    def _make_engine(self) -> sa.Engine:
        if not self.is_sqlite:
            try:
                return sa.create_engine(self.url, pool_pre_ping=True)
            except ModuleNotFoundError as error:
                raise PoolError(
                    f"{self.name}: the PostgreSQL driver is not installed",
                    hint="pip install 'ecomfs[postgres]'",
                ) from error
        arguments: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}}
        if self._memory:
            arguments["poolclass"] = StaticPool
            arguments["connect_args"]["check_same_thread"] = False
        engine = sa.create_engine(self.url, **arguments)
        if not self._memory:
            self._follow_file(engine)

        @sa.event.listens_for(engine, "connect")
        def _settings(connection: Any, _record: Any) -> None:
            # sqlite3 must not begin transactions itself: ``_begin`` chooses their kind.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            if not self._memory:
                write_ahead(cursor)
                cursor.execute("PRAGMA synchronous = FULL")
            cursor.close()

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            writes = connection.get_execution_options().get("ecomfs_writes", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _follow_file(self, engine: sa.Engine) -> None:
        """Reconnect when the file at the path changes. SQLite keeps reading a file that was deleted
        or replaced, so that a running service would never see the new one."""

        @sa.event.listens_for(engine, "do_connect")
        def _connect(_dialect: Any, record: Any, arguments: list[Any], options: Any) -> None:
            file = Path(arguments[0])
            if self._create:
                make_private(file)
            arguments[0] = f"{file.absolute().as_uri()}?mode={'rwc' if self._create else 'rw'}"
            options["uri"] = True
            record.info["path"] = file

        @sa.event.listens_for(engine, "first_connect")
        @sa.event.listens_for(engine, "connect")
        def _opened(_connection: Any, record: Any) -> None:
            record.info["file"] = _identity(record.info["path"])

        @sa.event.listens_for(engine, "checkout")
        def _same(_connection: Any, record: Any, _proxy: Any) -> None:
            if _identity(record.info["path"]) != record.info["file"]:
                raise sa.exc.DisconnectionError("the file was replaced")

    def _make_tables(self) -> None:
        """Create missing tables, and columns that an older release did not have, which are empty
        for its examples."""
        with self._engine.connect() as connection:
            if not _missing_columns(connection):
                return
        with self.writing() as connection:
            lock_schema(connection)
            metadata.create_all(connection)
            for column in _missing_columns(connection):
                kind = column.type.compile(dialect=connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}"
                )

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A read transaction; inside :meth:`writing` in the same thread, that transaction."""
        self._after_fork()
        if (outer := self._outer) is not None:
            yield outer
            return
        with self._turn, self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A write transaction: all changes are stored, or none. Inside another one in the same
        thread it is part of that one, so that changes of several tables are stored together.

        >>> from ecomfs.pool import Pool
        >>> from ecomfs.types import Example
        >>> pool = Pool.in_memory([Example("a", {"text": "fine"}, "x")])
        >>> try:
        ...     with pool.database.writing():
        ...         _ = pool.relabel("a", "y")
        ...         raise KeyError("a related change failed")
        ... except KeyError:
        ...     pool.version
        1
        """
        self._after_fork()
        if (outer := self._outer) is not None:
            yield outer
            return
        with self._turn, self._explained(), self._engine.connect() as connection:
            connection = connection.execution_options(ecomfs_writes=True)
            with connection.begin():
                self._open.connection = connection
                try:
                    yield connection
                finally:
                    self._open.connection = None

    @property
    def _outer(self) -> sa.Connection | None:
        return getattr(self._open, "connection", None)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise explain(error, self.name) from error

    def _after_fork(self) -> None:
        """Drop connections of the parent process. A database in memory is a copy of this process's
        own."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._open = threading.local()
            if self._memory:
                self._turn = threading.RLock()
            else:
                self._engine.dispose(close=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Do not pickle a password; the driver reads it from its own file (~/.pgpass).
        if not self._memory:
            return Database, (self.url._replace(password=None).render_as_string(),)
        with self.reading() as connection:
            held: Any = connection.connection.driver_connection
            return _in_memory, (held.serialize(),)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _in_memory(content: bytes) -> Database:
    """Restore a pickled database in memory."""
    database = Database("sqlite://")
    with closing(database._engine.raw_connection()) as connection:
        held: Any = connection.driver_connection
        held.deserialize(content)
    return database


def explain(error: Exception, where: str) -> DatabaseError:
    """The error for an exception of a database, with a hint.

    >>> str(explain(OSError("database or disk is full"), "sqlite:///pool.db")).splitlines()
    ['sqlite:///pool.db: database or disk is full (free some space, then run again; nothing of
    this change was stored)']
    """
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    reason = lines[0] if lines else type(cause).__name__
    text = str(cause).lower()
    hint = next((hint for words, hint in _HINTS if words in text), "")
    return DatabaseError(f"{where}: {reason}", hint=hint)


def _identity(file: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; ``None`` if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _parse(url: str | Path) -> sa.URL:
    text = str(url)
    if isinstance(url, Path) or "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        parsed = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise ConfigError(
            "the pool's URL cannot be read", hint="use sqlite:///file.db or postgresql://host/db"
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigError(
            f"a pool cannot live in {parsed.drivername!r}",
            hint="use sqlite:///file.db or postgresql://host/db",
        )
    return parsed


def _missing_columns(connection: sa.Connection) -> list[sa.Column[Any]]:
    found = sa.inspect(connection)
    have = {
        (name, column["name"])
        for name in set(found.get_table_names()) & set(metadata.tables)
        for column in found.get_columns(name)
    }
    return [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if (table.name, column.name) not in have
    ]


def _holds_pools(file: Path) -> bool:
    """Whether an SQLite file has the tables of a pool; the file is not changed."""
    uri = file.resolve().as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in found}.issuperset(metadata.tables)
    except sqlite3.Error:
        return True  # not a database, or locked: opening it raises the right error
