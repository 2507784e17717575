"""The tables that the service keeps beside a pool, in the same database.

    ecomfs_review     one row per row that waits for a person, or was labelled by one
    ecomfs_decision   what was done to reviews, by whom and when; rows are never changed
    ecomfs_request    answers to writes that carried an idempotency key
    ecomfs_run        uploaded tables and how far their scoring is

Alembic makes and changes them (``migrations/``); the tables of the pool are the pool's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite

from ecomfs.errors import ConfigError
from ecomfs.pool import Database

metadata = sa.MetaData()
VERSION_TABLE = "ecomfs_service_version"
_MIGRATION_LOCK = 0x65636F6E  # one more than the pool's own lock

_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

reviews = sa.Table(
    "ecomfs_review",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("row_id", sa.Text, nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("row_key", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("skips", sa.BigInteger, nullable=False),
    sa.Column("label", sa.Text, nullable=True),
    sa.Column("reviewer", sa.Text, nullable=True),
    sa.Column("decided_at", sa.Text, nullable=True),
    sa.Column("second_label", sa.Text, nullable=True),
    sa.Column("second_reviewer", sa.Text, nullable=True),
    sa.Column("suggestion", sa.Text, nullable=True),
    sa.Column("uncertainty", sa.Float, nullable=False),
    sa.Column("probabilities", sa.Text, nullable=False),
    sa.Column("pool_version", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("added_by", sa.Text, nullable=False),
    sa.Column("added_at", sa.Text, nullable=False),
    sa.UniqueConstraint("task", "row_key", name="ecomfs_review_row"),
    sa.Index("ecomfs_review_queue", "task", "state", "skips", "uncertainty"),
)

decisions = sa.Table(
    "ecomfs_decision",
    metadata,
    sa.Column("number", _Key, primary_key=True, autoincrement=True),
    sa.Column("review", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=True),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("pool_version", sa.BigInteger, nullable=False),
    sa.Index("ecomfs_decision_review", "review"),
    sa.Index("ecomfs_decision_task", "task", "number"),
)

requests = sa.Table(
    "ecomfs_request",
    metadata,
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

runs = sa.Table(
    "ecomfs_run",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("progress", sa.Float, nullable=True),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("added_by", sa.Text, nullable=False),
    sa.Column("added_at", sa.Text, nullable=False),
    sa.Column("changed_at", sa.Text, nullable=False),
    sa.Index("ecomfs_run_task", "task", "added_at"),
)


def migrate(database: Database) -> None:
    """Make the service's tables, or bring those of an older release up to date.

    Raises:
        ConfigError: the tables are of a newer release.
        DatabaseError: the database cannot be read or written.

    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool:
    ...     migrate(pool.database)
    ...     migrate(pool.database)  # nothing is left to do
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    script = ScriptDirectory.from_config(config)
    with database.reading() as connection:
        have = _revision(connection)
    known = {revision.revision for revision in script.walk_revisions()}
    if have is not None and have not in known:
        raise ConfigError(
            f"{database.name}: the service's tables are of a newer release ({have})",
            hint="install that release, or restore a backup of the older tables",
        )
    if have == script.get_current_head():
        return
    with database.writing() as connection:
        if not database.is_sqlite:
            # Two processes that start together would both make the tables.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def insert_if_absent(
    connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]
) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that does nothing where a row of this key is there.

    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool, pool.database.reading() as connection:
    ...     "DO NOTHING" in str(insert_if_absent(connection, requests, {"caller": "a", "key": "b"}))
    True
    """
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).values(values).on_conflict_do_nothing()
    return sqlite.insert(table).values(values).on_conflict_do_nothing()
