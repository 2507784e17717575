"""A database table as output, written in one transaction: it is complete or it does not exist."""

from __future__ import annotations

import json
import math
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecomfs.core.messages import first_line, mask_passwords
from ecomfs.core.sqlite import make_private
from ecomfs.errors import ConfigError, EcomfsError, OutputError

if TYPE_CHECKING:
    import sqlalchemy as sa

SQL = "sql:"
BACKENDS = ("postgresql", "duckdb", "sqlite")
"""Databases in which a table is created, filled and renamed in one transaction."""
_BATCH_ROWS = 1000
_NAME_BYTES = 63  # PostgreSQL cuts longer names without an error
_MAX_INT = 1 << 63
_OWN = "ecomfs_"
"""Prefix of the tables of pools and reviews."""
_HINT = "write sql:URL#TABLE, for example sql:postgresql+psycopg://me@host/shop#scored_reviews"


@dataclass(frozen=True, slots=True)
class SqlTable:
    """``sql:URL#TABLE`` or ``sql:URL#SCHEMA.TABLE``: a table of PostgreSQL, DuckDB or SQLite.

    Attributes
    ----------
    url : str
        The database, with its password.
    table : str
        The table.
    schema : str | None
        Its schema; the database's own by default.

    Examples
    --------
    >>> table = SqlTable.parse("sql:postgresql+psycopg://me:secret@host/shop#marts.scored")
    >>> table.schema, table.name, str(table)
    ('marts', 'scored', 'sql:postgresql+psycopg://me:***@host/shop#marts.scored')
    """

    url: str
    table: str
    schema: str | None = None

    @classmethod
    def parse(cls, text: str) -> SqlTable:
        """Parse ``sql:URL#TABLE``.

        Raises
        ------
        ConfigError
            The URL or the name of the table is missing, or the database is not supported.
        """
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        url, _, name = text.removeprefix(SQL).partition("#")
        try:
            backend = make_url(url).get_backend_name()
        except ArgumentError as problem:
            raise ConfigError(
                "-o: the part before # is not a database URL", hint=_HINT
            ) from problem
        if backend not in BACKENDS:
            raise ConfigError(
                f"-o: {backend} is not supported", hint=f"use one of {', '.join(BACKENDS)}"
            )
        schema, _, table = name.strip().rpartition(".")
        if not table or re.search(r"\s|;|\"", name.strip()):
            raise ConfigError(f"-o: {name.strip()!r} is not the name of a table", hint=_HINT)
        if table.casefold().startswith(_OWN):
            raise ConfigError(
                f"-o: {table!r}: names with {_OWN} are reserved for pools and reviews",
                hint="name another table",
            )
        return cls(url, table, schema or None)

    @property
    def name(self) -> str:
        """The table without database and schema."""
        return self.table

    def __str__(self) -> str:
        from sqlalchemy.engine import make_url

        shown = mask_passwords(make_url(self.url).render_as_string(hide_password=True))
        return f"{SQL}{shown}#{f'{self.schema}.' if self.schema else ''}{self.table}"

    def check(self, source: str, *, replace: bool) -> None:
        """Refuse a table that cannot be written, before any work is done for it.

        Parameters
        ----------
        source : str
            The input.
        replace : bool
            Whether a table of this name may be replaced.

        Raises
        ------
        ConfigError
            The input reads this table.
        OutputError
            The table exists and may not be replaced, the database cannot be opened, or no table
            can be created in it.
        """
        own = self.url
        if source.startswith(f"{SQL}{own}#") and re.search(
            rf"(?i)(?<!\w){re.escape(self.table)}(?!\w)", source.partition("#")[2]
        ):
            raise ConfigError(
                f"-o {self} is a table that the input reads", hint="name another table"
            )
        if not self._begun():
            return
        with self._transaction() as connection:
            self._refuse_existing(connection, replace)
            # Check permissions now, and not after hours of work.
            import sqlalchemy as sa

            tried = sa.Table(_free_name(), sa.MetaData(), sa.Column("a", sa.Text))
            tried.schema = self.schema
            tried.create(connection)
            tried.drop(connection)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse columns that the database cannot have.

        Raises
        ------
        ConfigError
            A name is empty or too long, or two names differ in case only.
        """
        from sqlalchemy.engine import make_url

        backend = make_url(self.url).get_backend_name()
        seen: dict[str, str] = {}
        for name in names:
            if not name:
                raise ConfigError(f"-o {self}: a column has no name", hint="name it in the input")
            if backend == "postgresql" and len(name.encode()) > _NAME_BYTES:
                raise ConfigError(
                    f"-o {self}: column {name!r} is longer than {_NAME_BYTES} bytes",
                    hint="shorten its name, or write a file",
                )
            other = seen.setdefault(name if backend == "postgresql" else name.casefold(), name)
            if other != name:
                raise ConfigError(
                    f"-o {self}: columns {other!r} and {name!r} are the same to this database",
                    hint="rename one of them, or write a file",
                )

    @property
    def file(self) -> Path | None:
        """The file of the database; ``None`` for a server."""
        from sqlalchemy.engine import make_url

        url = make_url(self.url)
        here = url.get_backend_name() != "postgresql" and url.database
        return Path(url.database) if here and url.database else None

    def _begun(self) -> bool:
        """Whether the database exists; a database file is created when the table is written."""
        from sqlalchemy.engine import make_url

        url = make_url(self.url)
        if url.get_backend_name() == "postgresql":
            return True
        if not url.database or url.database.startswith(":"):
            raise ConfigError(f"-o {self}: a database in memory would be lost", hint=_HINT)
        path = Path(url.database)
        if not path.exists() and not path.parent.is_dir():
            raise OutputError(
                f"{path}: its folder does not exist", hint=f"make it first: mkdir -p {path.parent}"
            )
        return path.exists()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        import sqlalchemy as sa

        hint = "nothing was changed in the database; correct the problem and run again"
        with opened_database(self.url, str(self), OutputError, hint) as engine:
            if engine.dialect.name == "sqlite":
                # The driver alone begins no transaction before CREATE TABLE.
                sa.event.listen(engine, "connect", _begin_by_hand)
                sa.event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
            with engine.begin() as connection:
                yield connection

    def _refuse_existing(self, connection: sa.Connection, replace: bool) -> bool:
        """Whether the table exists."""
        import sqlalchemy as sa

        there = sa.inspect(connection).has_table(self.table, schema=self.schema)
        if there and not replace:
            raise OutputError(
                f"{self}: the table exists already",
                hint="replace it with --replace-table, or name another one",
            )
        return there


@contextmanager
def opened_database(
    url: str | sa.URL, name: str, failure: type[EcomfsError], hint: str = "", **options: Any
) -> Iterator[sa.Engine]:
    """An SQLAlchemy engine, disposed of after the block; errors begin with ``name``.

    Raises:
        ConfigError: the driver is not installed.
        failure: the database refuses an operation.
    """
    import sqlalchemy as sa
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    try:
        engine = sa.create_engine(url, **options)
        try:
            yield engine
        finally:
            engine.dispose()
    except (ImportError, NoSuchModuleError) as problem:
        backend = sa.make_url(url).get_backend_name()
        extra = "postgres" if backend == "postgresql" else backend
        raise ConfigError(f"{name}: {problem}", hint=f"pip install 'ecomfs[{extra}]'") from problem
    except SQLAlchemyError as problem:
        reason = first_line(getattr(problem, "orig", None) or problem)
        raise failure(f"{name}: {reason}", hint=hint) from problem


def _begin_by_hand(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _free_name() -> str:
    return f"ecomfs_{secrets.token_hex(6)}"


class SqlTableWriter:
    """Writes rows to a database table. Rows are kept in a temporary file until :meth:`commit`
    creates the table in one short transaction.

    Parameters
    ----------
    target : SqlTable
        The table.
    header : Sequence[str]
        Column names.
    numbers : Sequence[str]
        Columns of numbers.
    kinds : callable
        Returns column → type of its values in the input; called after the last row. Other columns
        are text.
    replace : bool
        Whether a table of this name may be replaced.

    Raises
    ------
    ConfigError
        The database cannot have a column of that name.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> target = SqlTable.parse(f"sql:sqlite:///{folder}/shop.db#scored")
    >>> out = SqlTableWriter(target, ["id", "confidence"], numbers=["confidence"])
    >>> out.write([["r1", "0.25"]])
    >>> out.commit()
    >>> from ecomfs.io import TableReader
    >>> [dict(r.cells) for r in TableReader(f"sql:{target.url}#SELECT * FROM scored").rows()]
    [{'id': 'r1', 'confidence': '0.25'}]
    """

    def __init__(
        self,
        target: SqlTable,
        header: Sequence[str],
        *,
        numbers: Sequence[str] = (),
        kinds: Callable[[], Mapping[str, type]] = dict,
        replace: bool = False,
    ) -> None:
        target.check_columns(header)
        self.target = target
        self.rows = 0
        self._header = list(header)
        self._numbers = frozenset(numbers)
        self._kinds = kinds
        self._replace = replace
        # Not the database: reading the input may hold a lock on it.
        self._waiting = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""
        for row in rows:
            if len(row) != len(self._header):
                raise OutputError(
                    f"{self.target}: row {self.rows + 1} has {len(row)} cells, "
                    f"the header has {len(self._header)}"
                )
            try:
                self._waiting.write(json.dumps(list(row)) + "\n")
            except OSError as problem:
                raise OutputError(
                    f"{self.target}: the rows cannot be kept in the temporary folder: {problem}",
                    hint="free some space, or set TMPDIR to another folder",
                ) from problem
            self.rows += 1

    def commit(self) -> None:
        """Create the table with all rows.

        Raises
        ------
        OutputError
            The database refuses it; nothing was changed.
        """
        import sqlalchemy as sa

        kinds = {**self._kinds(), **dict.fromkeys(self._numbers, float)}
        target = self.target
        new = target.file
        new = new if new is not None and not new.exists() else None
        if new is not None and target.url.startswith("sqlite"):
            make_private(new)
        with target._transaction() as connection:
            if new is not None:  # DuckDB creates its file itself
                new.chmod(0o600)
            backend = connection.dialect.name
            types = {name: _column_type(kinds.get(name), backend) for name in self._header}
            there = target._refuse_existing(connection, self._replace)
            made = _free_name() if there else target.table
            columns = [sa.Column(name, types[name][0]) for name in self._header]
            table = sa.Table(made, sa.MetaData(), *columns, schema=target.schema)
            table.create(connection)
            keys = [column.key for column in table.columns]
            readers = [types[name][1] for name in self._header]
            for batch in self._batches():
                values = [
                    {k: _value(r, c) for k, r, c in zip(keys, readers, cells, strict=True)}
                    for cells in batch
                ]
                connection.execute(table.insert(), values)
            if there:
                sa.Table(target.table, sa.MetaData(), schema=target.schema).drop(connection)
                quote = connection.dialect.identifier_preparer
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote.format_table(table)} RENAME TO {quote.quote(target.table)}"
                )
        self.discard()

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""
        self._waiting.close()

    def _batches(self) -> Iterator[list[list[str]]]:
        self._waiting.flush()
        self._waiting.seek(0)
        batch: list[list[str]] = []
        for line in self._waiting:
            batch.append(json.loads(line))
            if len(batch) == _BATCH_ROWS:
                yield batch
                batch = []
        if batch:
            yield batch


def _value(read: Callable[[str], Any], cell: str) -> Any:
    return read(cell) if cell else None


def _text(cell: str) -> str:
    """The cell with unpaired surrogates and NUL escaped: databases refuse them."""
    return cell.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _column_type(kind: type | None, backend: str) -> tuple[Any, Callable[[str], Any]]:
    """The SQL type of a column and the function that converts its cells; text where another type
    could lose information."""
    import sqlalchemy as sa

    if kind is int:
        return sa.BigInteger(), int
    if kind is float:
        return sa.Double(), float
    if kind is bool:
        return sa.Boolean(), lambda cell: cell == "true"
    if kind is datetime:
        return sa.DateTime(), datetime.fromisoformat
    if kind is date:
        return sa.Date(), date.fromisoformat
    # Elsewhere a number without a scale is rounded.
    if kind is Decimal and backend == "postgresql":
        return sa.Numeric(), Decimal
    return sa.Text(), _text


class ColumnKinds:
    """Collects the types of values per column.

    Examples
    --------
    >>> kinds = ColumnKinds(("id", "price", "note"))
    >>> kinds.add((7, 2.5, None)), kinds.add((8, "free", None))
    (None, None)
    >>> kinds.found()
    {'id': <class 'int'>}
    """

    def __init__(self, header: Sequence[str]) -> None:
        self._header = tuple(header)
        self._seen: list[set[type]] = [set() for _ in header]

    def add(self, values: Sequence[Any]) -> None:
        """Note a row's values."""
        for seen, value in zip(self._seen, values, strict=False):
            if value is not None:
                seen.add(_kind(value))

    def found(self) -> dict[str, type]:
        """Column → type, for columns whose values all have one type that a table can store."""
        return {
            name: next(iter(seen))
            for name, seen in zip(self._header, self._seen, strict=True)
            if len(seen) == 1 and seen <= {int, float, bool, datetime, date, Decimal}
        }


def _kind(value: Any) -> type:
    if isinstance(value, datetime):
        return datetime if value.tzinfo is None else str
    if isinstance(value, int) and not isinstance(value, bool) and not -_MAX_INT <= value < _MAX_INT:
        return str
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return str
    return type(value)


__all__ = ["BACKENDS", "ColumnKinds", "SqlTable", "SqlTableWriter"]
