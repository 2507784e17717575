"""The pool: labelled examples in SQL with all versions.

Each change makes the next version of the pool in one transaction. Examples are never overwritten: a
revision is current from the version that added it until the version that retired it. So a run on a
fixed version can be repeated after later corrections.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ecomfs.errors import DuplicateIdError, PoolError
from ecomfs.pool.database import Database
from ecomfs.pool.records import (
    Change,
    PoolStats,
    Revision,
    check_text,
    decode_fields,
    example_columns,
    refuse_duplicate_ids,
    shown_ids,
)
from ecomfs.pool.tables import changes, examples, insert_if_absent, pools
from ecomfs.types import Example

_CHUNK = 500  # ids in one SQL statement; SQLite allows 32,766 variables, PostgreSQL 65,535
_EXAMPLE = [examples.c[n] for n in ("id", "fields", "label", "synthetic", "source_id", "method")]


class Pool:
    """A named, versioned set of labelled examples.

    It can be used from several threads and processes at once: writers queue, and readers always see
    a complete version.

    Examples
    --------
    >>> pool = Pool.in_memory()
    >>> pool.add([Example("a", {"text": "great"}, "positive"),
    ...           Example("b", {"text": "broke at once"}, "positive")])
    1
    >>> pool.relabel("b", "negative", note="misread")
    2
    >>> [e.label for e in pool.examples()], [e.label for e in pool.examples(version=1)]
    (['positive', 'negative'], ['positive', 'positive'])
    >>> pool.close()
    """

    def __init__(
        self, database: Database, name: str = "default", *, synthetic: bool = True
    ) -> None:
        if not name or not name.isprintable():
            raise PoolError(
                f"{name!r} is not a valid name of a pool", hint="use letters, digits and hyphens"
            )
        self.name = name
        self._database = database
        self._synthetic = synthetic

    @classmethod
    def open(
        cls,
        url: str | Path,
        name: str = "default",
        *,
        create: bool = True,
        synthetic: bool = True,
    ) -> Pool:
        """Open a pool of a database; missing tables and a missing pool are created.

        Args:
            url: ``sqlite:///file.db`` or the path of a file; ``postgresql+psycopg://user@host/db``.
            name: name of the pool; a database may have several.
            create: create an SQLite file that does not exist.
            synthetic: with ``False``, :meth:`examples` and :meth:`snapshot` always leave out
                examples made by augmentation.

        Raises:
            PoolError: the database cannot be opened.
            ConfigError: the URL names another kind of database.
        """
        return cls(Database(url, create=create), name, synthetic=synthetic)

    @classmethod
    def in_memory(cls, examples: Iterable[Example] = (), name: str = "default") -> Pool:
        """A temporary pool in memory, with ``examples`` as version 1."""
        pool = cls(Database("sqlite://"), name)
        pool.add(examples)
        return pool

    @property
    def url(self) -> str:
        """The database's URL, without its password."""
        return self._database.name

    @property
    def database(self) -> Database:
        """The database, for tables that change in the same transaction as the pool."""
        return self._database

    @property
    def version(self) -> int:
        """The current version; 0 if nothing was ever added."""
        with self._database.reading() as connection:
            return self._version(connection)

    def add(self, examples_: Iterable[Example], note: str = "") -> int:
        """Add examples. Returns the new version, or the current one if there are none to add.

        Raises:
            DuplicateIdError: an id is used twice, or is in the pool; nothing is added.
            PoolError: an example cannot be stored; nothing is added.
        """
        rows = [example_columns(example) for example in examples_]
        if not rows:
            return self.version
        refuse_duplicate_ids([str(row["id"]) for row in rows])
        with self._database.writing() as connection:
            version, position = self._next_version(connection, "add", len(rows), note, len(rows))
            alive = self._alive(connection, [str(row["id"]) for row in rows])
            if alive:
                raise DuplicateIdError(
                    f"pool {self.name!r} already has {shown_ids(alive)}",
                    hint="relabel or retire it, or give the new example another id",
                )
            for offset, row in enumerate(rows):
                row |= {"pool": self.name, "position": position + offset, "added_in": version}
            connection.execute(sa.insert(examples), rows)
        return version

    def relabel(self, id: str, label: str, note: str = "") -> int:
        """Change the label of an example. Returns the new version, or the current one if the
        example has this label.

        Raises:
            PoolError: the pool has no such example, or the label is empty.
        """
        return self.relabel_many({id: label}, note)

    def relabel_many(self, labels: Mapping[str, str], note: str = "") -> int:
        """Change the labels of several examples in one version. Returns it, or the current one if
        nothing changes.

        Args:
            labels: id → new label.

        Raises:
            PoolError: the pool has no such id, or a label is empty; nothing is changed.

        >>> with Pool.in_memory([Example(i, {"text": i}, "x") for i in "abc"]) as pool:
        ...     pool.relabel_many({"a": "y", "b": "y", "c": "x"})
        ...     [e.label for e in pool.examples()]
        2
        ['y', 'y', 'x']
        """
        for id, label in labels.items():
            check_text(label, f"example {id!r}: the label")
        with self._database.writing() as connection:
            old = self._all_alive(connection, list(labels))
            changed = [id for id, label in labels.items() if old[id].label != label]
            if not changed:
                return self._version(connection)
            version, _ = self._next_version(connection, "relabel", len(changed), note)
            self._retire(connection, changed, version)
            rows = [
                {**old[id]._mapping, "label": labels[id], "added_in": version} for id in changed
            ]
            for row in rows:
                del row["revision"]
            connection.execute(sa.insert(examples), rows)
        return version

    def retire(self, ids: Collection[str], note: str = "") -> int:
        """Remove examples. Returns the new version, or the current one if ``ids`` is empty.

        Raises:
            PoolError: the pool has no such id; nothing is removed.
        """
        wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        if not wanted:
            return self.version
        with self._database.writing() as connection:
            self._all_alive(connection, wanted)
            version, _ = self._next_version(connection, "retire", len(wanted), note)
            self._retire(connection, wanted, version)
        return version

    def examples(self, version: int | None = None, *, synthetic: bool = True) -> list[Example]:
        """The examples of a version, in the order in which they were first added.

        Args:
            version: ``None``: the current one; 0 is the empty pool.
            synthetic: with ``False``, leave out examples made by augmentation.

        Raises:
            PoolError: the version does not exist.
        """
        return self.snapshot(version, synthetic=synthetic)[1]

    def snapshot(
        self, version: int | None = None, *, synthetic: bool = True
    ) -> tuple[int, list[Example]]:
        """A version and its examples, read in one transaction."""
        with self._database.reading() as connection:
            current = self._version(connection)
            wanted = current if version is None else version
            if not 0 <= wanted <= current:
                raise PoolError(
                    f"pool {self.name!r} has no version {wanted}",
                    hint=f"versions are 0 to {current}",
                )
            query = (
                sa.select(*_EXAMPLE)
                .where(examples.c.pool == self.name, _alive_in(wanted))
                .order_by(examples.c.position)
            )
            if not (synthetic and self._synthetic):
                query = query.where(examples.c.synthetic.is_(False))
            return wanted, [_example(row) for row in connection.execute(query)]

    def history(self, id: str) -> list[Revision]:
        """All states of an example, oldest first; empty for an unknown id."""
        query = (
            sa.select(
                *_EXAMPLE, examples.c.added_in, examples.c.retired_in, changes.c.at, changes.c.note
            )
            .join(
                changes,
                (changes.c.pool == examples.c.pool) & (changes.c.version == examples.c.added_in),
            )
            .where(examples.c.pool == self.name, examples.c.id == id)
            .order_by(examples.c.revision)
        )
        with self._database.reading() as connection:
            return [
                Revision(_example(r), r.added_in, r.retired_in, r.at, r.note)
                for r in connection.execute(query)
            ]

    def changes(self) -> list[Change]:
        """All changes of the pool, one per version, oldest first."""
        query = (
            sa.select(*(c for c in changes.c if c.name != "pool"))
            .where(changes.c.pool == self.name)
            .order_by(changes.c.version)
        )
        with self._database.reading() as connection:
            return [Change(*row) for row in connection.execute(query)]

    def stats(self) -> PoolStats:
        """Counts at the current version."""
        count = sa.func.count()
        mine = examples.c.pool == self.name
        with self._database.reading() as connection:
            version = self._version(connection)
            alive = _alive_in(version)
            per_label = connection.execute(
                sa.select(examples.c.label, count).where(mine, alive).group_by(examples.c.label)
            ).all()
            synthetic, retired = (
                int(connection.execute(sa.select(count).where(mine, rule)).scalar_one())
                for rule in (alive & examples.c.synthetic, examples.c.retired_in <= version)
            )
        labels = {label: int(n) for label, n in sorted(per_label, key=lambda r: (-r[1], r[0]))}
        return PoolStats(self.name, version, sum(labels.values()), synthetic, retired, labels)

    def close(self) -> None:
        """Close the database; a pool in memory is deleted."""
        self._database.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Pool({self.url!r}, name={self.name!r})"

    # -- parts of transactions ------------------------------------------------------------------

    def _version(self, connection: sa.Connection) -> int:
        found = connection.execute(sa.select(pools.c.version).where(pools.c.name == self.name))
        return int(found.scalar_one_or_none() or 0)

    def _next_version(
        self, connection: sa.Connection, action: str, count: int, note: str, positions: int = 0
    ) -> tuple[int, int]:
        """Allocate the next version and positions for new examples; returns the version and the
        first position."""
        if "\0" in note:
            raise PoolError("a note contains a NUL character")
        where = pools.c.name == self.name
        lock = sa.select(pools).where(where).with_for_update()
        row = connection.execute(lock).one_or_none()
        if row is None:
            # Two writers that open a new pool at once must not both insert its row.
            values = {"name": self.name, "version": 0, "next_position": 0}
            connection.execute(insert_if_absent(connection, pools, values))
            row = connection.execute(lock).one()
        version, position = int(row.version) + 1, int(row.next_position)
        values = {"version": version, "next_position": position + positions}
        connection.execute(sa.update(pools).where(where).values(values))
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"version": version, "at": at, "action": action, "examples": count, "note": note}
        connection.execute(sa.insert(changes), entry | {"pool": self.name})
        return version, position

    def _living(self, ids: Sequence[str]) -> Iterator[sa.ColumnElement[bool]]:
        """SQL conditions, by chunk of ids, for the current revisions of these examples."""
        for start in range(0, len(ids), _CHUNK):
            yield sa.and_(
                examples.c.pool == self.name,
                examples.c.id.in_(ids[start : start + _CHUNK]),
                examples.c.retired_in.is_(None),
            )

    def _alive(self, connection: sa.Connection, ids: Sequence[str]) -> dict[str, Any]:
        """Id → current revision of these examples; ids that are not in the pool are left out."""
        return {
            row.id: row
            for part in self._living(ids)
            for row in connection.execute(sa.select(examples).where(part))
        }

    def _all_alive(self, connection: sa.Connection, ids: Sequence[str]) -> dict[str, Any]:
        """As :meth:`_alive`; an id that is not in the pool is a :class:`PoolError`."""
        found = self._alive(connection, ids)
        if missing := [id for id in ids if id not in found]:
            raise PoolError(
                f"pool {self.name!r} does not have {shown_ids(missing)}",
                hint="check the id, or add the example",
            )
        return found

    def _retire(self, connection: sa.Connection, ids: Sequence[str], version: int) -> None:
        """End the current revisions of these examples at ``version``."""
        for part in self._living(ids):
            connection.execute(sa.update(examples).where(part).values(retired_in=version))


def _alive_in(version: int) -> sa.ColumnElement[bool]:
    """The SQL condition that a revision belongs to a version."""
    retired = examples.c.retired_in
    return (examples.c.added_in <= version) & (retired.is_(None) | (retired > version))


def _example(row: Any) -> Example:
    """The example in a row of the database."""
    return Example(
        row.id,
        decode_fields(row.fields),
        row.label,
        bool(row.synthetic),
        row.source_id or "",
        row.method or "",
    )
