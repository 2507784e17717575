"""The tables of a pool database, and what the transactions of one pool read and write.

    ecomfs_pool      one row per named pool: its current version
    ecomfs_example   one row per revision of an example; alive in versions [added_in, retired_in)
    ecomfs_change    one row per version: what happened, when, and why

Versions are numbers that only grow. A revision is never updated except to close it
(``retired_in``), so every old version of a pool can be read again exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ecomfs.errors import PoolError
from ecomfs.pool.records import decode_fields
from ecomfs.types import Example

metadata = sa.MetaData()

# SQLite makes only INTEGER PRIMARY KEY an alias of its row id.
_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

pools = sa.Table(
    "ecomfs_pool",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("next_position", sa.BigInteger, nullable=False),
)

examples = sa.Table(
    "ecomfs_example",
    metadata,
    sa.Column("revision", _Key, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.Text, nullable=False),
    # A relabelled example keeps its position, so the order of a pool never depends on edits.
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    # JSON as text: PostgreSQL's jsonb refuses \u0000, and rows of shops hold it.
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    sa.Column("source_id", sa.Text, nullable=True),
    sa.Column("method", sa.Text, nullable=True),
    sa.Column("added_in", sa.BigInteger, nullable=False),
    sa.Column("retired_in", sa.BigInteger, nullable=True),
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
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("examples", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)


_CHUNK = 500  # ids in one SQL statement; SQLite allows 32,766 variables, PostgreSQL 65,535

EXAMPLE = tuple(
    examples.c[name] for name in ("id", "fields", "label", "synthetic", "source_id", "method")
)
"""The columns of which :func:`as_example` makes an example."""


class PoolRows:
    """What one pool's transactions read and write.

    Args:
        name: of the pool.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def version(self, connection: sa.Connection) -> int:
        """The current version; 0 while nothing was ever added."""
        found = connection.execute(sa.select(pools.c.version).where(pools.c.name == self.name))
        return int(found.scalar_one_or_none() or 0)

    def next_version(
        self, connection: sa.Connection, action: str, count: int, note: str, positions: int = 0
    ) -> tuple[int, int]:
        """Allocate the next version and ``positions`` places; the version and the first place.

        Args:
            action, count, note: what the version is, for the list of changes.
            positions: places for examples that are new.

        Raises:
            PoolError: the note cannot be stored.
        """
        if "\0" in note:
            raise PoolError("a note cannot hold NUL characters")
        where = pools.c.name == self.name
        lock = sa.select(pools).where(where).with_for_update()
        row = connection.execute(lock).one_or_none()
        if row is None:
            values = {"name": self.name, "version": 0, "next_position": 0}
            connection.execute(_insert_if_absent(connection, values))
            row = connection.execute(lock).one()
        version, position = int(row.version) + 1, int(row.next_position)
        connection.execute(
            sa.update(pools)
            .where(where)
            .values(version=version, next_position=position + positions)
        )
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"version": version, "at": at, "action": action, "examples": count, "note": note}
        connection.execute(sa.insert(changes), entry | {"pool": self.name})
        return version, position

    def alive(self, connection: sa.Connection, ids: Sequence[str]) -> dict[str, Any]:
        """The living revisions of these examples, as rows by id; those that are not alive are
        missing."""
        found: dict[str, Any] = {}
        for start in range(0, len(ids), _CHUNK):
            query = sa.select(*examples.c).where(
                examples.c.pool == self.name,
                examples.c.id.in_(ids[start : start + _CHUNK]),
                examples.c.retired_in.is_(None),
            )
            found |= {row.id: row for row in connection.execute(query)}
        return found

    def retire(self, connection: sa.Connection, ids: Sequence[str], version: int) -> None:
        """End the living revisions of these examples at ``version``."""
        for start in range(0, len(ids), _CHUNK):
            connection.execute(
                sa.update(examples)
                .where(
                    examples.c.pool == self.name,
                    examples.c.id.in_(ids[start : start + _CHUNK]),
                    examples.c.retired_in.is_(None),
                )
                .values(retired_in=version)
            )


def alive_in(version: int) -> sa.ColumnElement[bool]:
    """The condition that a revision belongs to a version."""
    retired = examples.c.retired_in
    return (examples.c.added_in <= version) & (retired.is_(None) | (retired > version))


def as_example(row: Any) -> Example:
    """The example of a row that has the columns of :data:`EXAMPLE`."""
    return Example(
        row.id,
        decode_fields(row.fields),
        row.label,
        bool(row.synthetic),
        row.source_id or "",
        row.method or "",
    )


def _insert_if_absent(connection: sa.Connection, values: dict[str, object]) -> sa.Insert:
    # Two writers that open a new pool together must not both insert its row.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(pools).values(values).on_conflict_do_nothing()
    return sa.insert(pools).values(values)
