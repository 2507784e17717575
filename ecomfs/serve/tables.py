"""The service's tables in the database of a pool, and idempotent writes.

    ecomfs_review     one row per review, open or decided
    ecomfs_decision   the log of decisions, with reviewer and time; rows are never changed
    ecomfs_request    responses to writes with an idempotency key
    ecomfs_run        uploaded tables and their progress
    ecomfs_secret     random secrets of the service, such as the one that signs session cookies

Alembic creates and changes them (``migrations/``); :mod:`ecomfs.pool` has the tables of the pool.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ecomfs.errors import ConfigError, InputError
from ecomfs.pool import Database
from ecomfs.pool.tables import NUMBER, columns, insert_if_absent, lock_schema
from ecomfs.traffic import now

metadata = sa.MetaData()
VERSION_TABLE = "ecomfs_service_version"

reviews = sa.Table(
    "ecomfs_review",
    metadata,
    *columns(sa.Text, "id", primary_key=True),
    *columns(sa.Text, "task", "row_id", "fields", "row_key", "state"),
    *columns(sa.BigInteger, "version", "skips"),
    *columns(sa.Text, "label", "reviewer", "decided_at", nullable=True),
    *columns(sa.Text, "second_label", "second_reviewer", "suggestion", nullable=True),
    *columns(sa.Float, "uncertainty"),
    *columns(sa.Text, "probabilities"),
    *columns(sa.BigInteger, "pool_version"),
    *columns(sa.Text, "source", "added_by", "added_at"),
    sa.UniqueConstraint("task", "row_key", name="ecomfs_review_row"),
    sa.Index("ecomfs_review_queue", "task", "state", "skips", "uncertainty"),
)

decisions = sa.Table(
    "ecomfs_decision",
    metadata,
    *columns(NUMBER, "number", primary_key=True),
    *columns(sa.Text, "review", "task", "action"),
    *columns(sa.Text, "label", nullable=True),
    *columns(sa.Text, "reviewer", "at"),
    *columns(sa.BigInteger, "pool_version"),
    sa.Index("ecomfs_decision_review", "review"),
    sa.Index("ecomfs_decision_task", "task", "number"),
)

requests = sa.Table(
    "ecomfs_request",
    metadata,
    *columns(sa.Text, "caller", "key", primary_key=True),
    *columns(sa.Text, "fingerprint", "answer", "at"),
)

runs = sa.Table(
    "ecomfs_run",
    metadata,
    *columns(sa.Text, "id", primary_key=True),
    *columns(sa.Text, "task", "name", "state", "counts"),
    *columns(sa.Float, "progress", nullable=True),
    *columns(sa.Text, "error", "added_by", "added_at", "changed_at"),
    sa.Index("ecomfs_run_task", "task", "added_at"),
)

service_secrets = sa.Table(
    "ecomfs_secret",
    metadata,
    *columns(sa.Text, "name", primary_key=True),
    *columns(sa.Text, "value"),
)


def migrate(database: Database) -> None:
    """Create the service's tables, or upgrade those of an older release.

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
        options = {"version_table": VERSION_TABLE}
        have = MigrationContext.configure(connection, opts=options).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if have is not None and have not in known:
        raise ConfigError(
            f"{database.name}: the service's tables are of a newer release ({have})",
            hint="install that release, or restore a backup of the older tables",
        )
    if have == script.get_current_head():
        return
    with database.writing() as connection:
        lock_schema(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def session_secret(database: Database) -> str:
    """The secret that signs session cookies: 32 random bytes in hex, made once per database, so
    that it is the same in every process of a service and after a restart.

    Raises:
        ConfigError: see :func:`migrate`.
        DatabaseError: the database cannot be read or written.

    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool:
    ...     session_secret(pool.database) == session_secret(pool.database)
    True
    """
    migrate(database)
    kept = service_secrets.c
    wanted = sa.select(kept.value).where(kept.name == "session")
    with database.writing() as connection:
        made = {"name": "session", "value": secrets.token_hex(32)}
        connection.execute(insert_if_absent(connection, service_secrets, made))
        return str(connection.execute(wanted).scalar_one())


KEPT = timedelta(days=7)
"""How long a response is kept."""


class IdempotentWrites:
    """Stores the responses to writes with an idempotency key.

    The response is stored in the transaction of the write. After a lost connection or a restart of
    the service, the caller repeats the request with the same ``Idempotency-Key``, and nothing is
    changed twice.

    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool:
    ...     writes = IdempotentWrites(pool.database)
    ...     write = lambda: {"version": pool.version}
    ...     writes.once("shop", "k1", {"id": "a"}, write), writes.once(
    ...         "shop", "k1", {"id": "a"}, lambda: 1 / 0)
    ({'version': 0}, {'version': 0})
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        migrate(database)

    def once(
        self,
        caller: str,
        key: str | None,
        request: Mapping[str, Any],
        write: Callable[[], dict[str, Any]],
    ) -> dict[str, Any]:
        """The response of ``write``, or the stored response of an earlier request with this key.

        Args:
            caller: the caller; keys of different callers are independent.
            key: the idempotency key; ``None``: the request is not stored.
            request: content of the request; another request with the same key is refused.
            write: makes the change, in the transaction that stores the response.

        Raises:
            InputError: the key was used for another request.
        """
        if key is None:
            with self._database.writing():
                return write()
        text = json.dumps(request, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        mine = (requests.c.caller == caller) & (requests.c.key == key)
        with self._database.writing() as connection:
            oldest = (datetime.now(UTC) - KEPT).isoformat(timespec="milliseconds")
            connection.execute(sa.delete(requests).where(requests.c.at < oldest))
            values = {"caller": caller, "key": key, "fingerprint": fingerprint, "at": now()}
            # A second request with the key waits here until the first is committed or rolled back.
            made = insert_if_absent(connection, requests, {**values, "answer": ""})
            if connection.execute(made.returning(requests.c.key)).first() is None:
                known = connection.execute(sa.select(requests).where(mine)).one()
                if known.fingerprint != fingerprint:
                    raise InputError(
                        f"Idempotency-Key {key!r} was used for another request",
                        hint="use a new key for every change",
                    )
                answer: dict[str, Any] = json.loads(known.answer)
                return answer
            answer = write()
            connection.execute(sa.update(requests).where(mine).values(answer=json.dumps(answer)))
            return answer
