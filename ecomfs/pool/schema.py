"""The tables of a pool database.

    ecomfs_pool      one row a named pool: its current version
    ecomfs_example   one row a revision of an example; alive in versions [added_in, retired_in)
    ecomfs_change    one row a version: what happened, when, and why

A revision is never updated except to close it (``retired_in``), so every old version of a pool
can be read again exactly.
"""

from __future__ import annotations

import sqlalchemy as sa

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
