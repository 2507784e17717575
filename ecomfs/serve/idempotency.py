"""Writes that can be sent again: the answer of the first one is given.

The answer is stored in the transaction of the write itself. A caller that lost the connection, or
met a service that was killed, repeats the request with the same ``Idempotency-Key`` and cannot
change anything twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ecomfs.errors import InputError
from ecomfs.pool import Database
from ecomfs.serve.reviews import now
from ecomfs.serve.tables import insert_if_absent, migrate, requests

KEPT = timedelta(days=7)
"""How long an answer is kept."""


class Repeats:
    """The answers to writes that carried an idempotency key.

    Examples
    --------
    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool:
    ...     repeats = Repeats(pool.database)
    ...     write = lambda: {"version": pool.version}
    ...     repeats.once("shop", "k1", {"id": "a"}, write), repeats.once(
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
        """The answer of ``write``, or of the earlier request with this key.

        Args:
            caller: whose key it is; callers cannot meet each other's.
            key: ``None``: the request is not to be recognised.
            request: what is asked; another request with the same key is refused.
            write: makes the change; it is called in the transaction that stores the answer.

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
            # A second request with the key waits here until the first is stored or gone.
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
