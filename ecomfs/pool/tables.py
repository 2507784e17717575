"""The tables of a pool database.

    ecomfs_pool      one row per named pool: its current version
    ecomfs_example   one row per revision of an example; current in versions [added_in, retired_in)
    ecomfs_change    one row per version: what happened, when, and why

Version numbers only increase. A revision is never updated except to end it (``retired_in``), so
every old version of a pool can be read again exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

metadata = sa.MetaData()

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Type of an auto-incremented key: SQLite increments only an INTEGER PRIMARY KEY."""


def columns(
    kind: Any, *names: str, primary_key: bool = False, nullable: bool = False
) -> list[sa.Column[Any]]:
    """Columns of one type."""
    return [sa.Column(n, kind, primary_key=primary_key, nullable=nullable) for n in names]


pools = sa.Table(
    "ecomfs_pool",
    metadata,
    *columns(sa.Text, "name", primary_key=True),
    *columns(sa.BigInteger, "version", "next_position"),
)

examples = sa.Table(
    "ecomfs_example",
    metadata,
    *columns(NUMBER, "revision", primary_key=True),
    *columns(sa.Text, "pool"),
    # A relabelled example keeps its position, so the order of a pool never depends on edits.
    *columns(sa.BigInteger, "position"),
    # Fields are JSON as text: PostgreSQL's jsonb refuses \u0000, and rows of shops hold it.
    *columns(sa.Text, "id", "fields", "label"),
    *columns(sa.Boolean, "synthetic"),
    *columns(sa.Text, "source_id", "method", nullable=True),
    *columns(sa.BigInteger, "added_in"),
    *columns(sa.BigInteger, "retired_in", nullable=True),
    sa.Index("ecomfs_example_order", "pool", "position"),
    sa.Index("ecomfs_example_id", "pool", "id"),
)

sa.Index(
    "ecomfs_example_alive",
    examples.c.pool,
    examples.c.id,
    unique=True,
    sqlite_where=examples.c.retired_in.is_(None),
    postgresql_where=examples.c.retired_in.is_(None),
)

changes = sa.Table(
    "ecomfs_change",
    metadata,
    *columns(sa.Text, "pool", primary_key=True),
    *columns(sa.BigInteger, "version", primary_key=True),
    *columns(sa.Text, "at", "action"),
    *columns(sa.BigInteger, "examples"),
    *columns(sa.Text, "note"),
)


def insert_if_absent(
    connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]
) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that does nothing if a row with this key exists.

    >>> engine = sa.create_engine("sqlite://")
    >>> with engine.connect() as connection:
    ...     "DO NOTHING" in str(insert_if_absent(connection, pools, {"name": "a"}))
    True
    """
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).values(values).on_conflict_do_nothing()
    return sqlite.insert(table).values(values).on_conflict_do_nothing()


def lock_schema(connection: sa.Connection) -> None:
    """Wait for other processes that create or change tables: two that start at once would both find
    them missing. In SQLite a write transaction has waited already."""
    if connection.dialect.name == "postgresql":
        # Any constant, the same in every process; "ecom" in ASCII.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(0x65636F6D)))
