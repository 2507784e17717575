"""The result of a SQL query, through SQLAlchemy."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from ecomfs.errors import ConfigError, EmptyInputError, InputError
from ecomfs.io.cells import cell_text
from ecomfs.io.rows import Record
from ecomfs.io.source import TypedSource

PREFIX = "sql:"
FETCH_ROWS = 1000
_READ_ONLY = {  # PostgreSQL has an execution option
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


class SqlSource(TypedSource):
    """``sql:URL#QUERY``, such as ``sql:sqlite:///shop.db#SELECT id, text FROM reviews``.

    Only a query that reads is accepted (SELECT, WITH, VALUES, TABLE), on a connection that is set
    to read only where the database has such a setting (SQLite, PostgreSQL, MySQL) and rolled back
    everywhere. The query runs anew for every pass: give it an ORDER BY if the order matters.
    Rows are fetched as they are needed where the driver can.

    Raises:
        ConfigError: no query, one that does not read, or a URL that is none.
        InputError: the database refuses it; passwords are masked in the message.
    """

    def __init__(self, spec: str) -> None:
        url, _, query = spec.removeprefix(PREFIX).partition("#")
        query = query.strip().rstrip(";")
        if not re.match(r"(?i)(select|with|values|table)\b", query):
            hint = "write sql:URL#SELECT ..., for example sql:sqlite:///shop.db#SELECT * FROM t"
            raise ConfigError("a SQL input needs a query that reads", hint=hint)
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            self._url = make_url(url)
        except ArgumentError as problem:
            raise ConfigError("the part before # is not a database URL") from problem
        self.name = f"{PREFIX}{self._url.render_as_string(hide_password=True)}"
        self._query = query
        with self._result() as (names, _):
            super().__init__(names)
        if not self.header:
            raise EmptyInputError(f"{self.name}: the query gives no columns")

    def records(self) -> Generator[Record]:
        """The rows; ``line`` is the row's number, counted from 1."""
        with self._result() as (_, rows):
            for number, row in enumerate(rows, 1):
                yield Record(number, [cell_text(value) for value in row])

    @contextmanager
    def _result(self) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[object, ...]]]]:
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import SQLAlchemyError

        missing = self._url.get_backend_name() == "sqlite" and self._missing_file()
        if missing:
            raise InputError(f"{self.name}: no such database file")
        try:
            engine = create_engine(self._url)
            try:
                options = {"yield_per": FETCH_ROWS, "postgresql_readonly": True}
                with engine.connect().execution_options(**options) as connection:
                    if setting := _READ_ONLY.get(self._url.get_backend_name()):
                        connection.execute(text(setting))
                    result = connection.execute(text(self._query))
                    yield tuple(result.keys()), (tuple(row) for row in result)
            finally:
                engine.dispose()
        except (SQLAlchemyError, ImportError) as problem:
            said = str(getattr(problem, "orig", None) or problem).splitlines()[0]
            raise InputError(f"{self.name}: {said}") from problem

    def _missing_file(self) -> bool:
        """SQLite would create the file, and a typing error would look like an empty database."""
        from pathlib import Path

        name = self._url.database
        memory = not name or name == ":memory:" or name.startswith("file:")
        return not memory and not Path(str(name)).is_file()
