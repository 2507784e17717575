"""The pool: labelled examples in SQL, every version kept.

Each change makes the next version of the pool in one transaction. Examples are never
overwritten: a revision is alive from the version that added it until the version that retired
it, so a run that pins a version can be repeated after any number of later corrections.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from ecomfs.errors import DuplicateIdError, PoolError
from ecomfs.pool.database import Database
from ecomfs.pool.records import (
    Change,
    PoolStats,
    Revision,
    check_text,
    few,
    refuse_repeats,
    storable,
)
from ecomfs.pool.tables import EXAMPLE, PoolRows, alive_in, as_example, changes, examples
from ecomfs.types import Example


class Pool:
    """A named, versioned set of labelled examples.

    Safe to use from several threads and processes at once: writers queue, readers always see a
    whole version.

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
            raise PoolError(f"{name!r} cannot name a pool", hint="use letters, digits and hyphens")
        self.name = name
        self._database = database
        self._synthetic = synthetic
        self._rows = PoolRows(name)

    @classmethod
    def open(
        cls,
        url: str | Path,
        name: str = "default",
        *,
        create: bool = True,
        synthetic: bool = True,
    ) -> Pool:
        """Open a pool of a database, making tables and pool at need.

        Args:
            url: ``sqlite:///file.db`` or the path of a file; ``postgresql+psycopg://user@host/db``.
            name: several pools may live in one database.
            create: make an SQLite file that is not there.
            synthetic: with ``False``, :meth:`examples` and :meth:`snapshot` leave out examples
                made by augmentation, whoever calls them.

        Raises:
            PoolError: the database cannot be opened.
            ConfigError: the URL names another kind of database.
        """
        return cls(Database(url, create=create), name, synthetic=synthetic)

    @classmethod
    def in_memory(cls, examples: Iterable[Example] = (), name: str = "default") -> Pool:
        """A pool that lives as long as this object, holding ``examples`` as version 1."""
        pool = cls(Database("sqlite://"), name)
        pool.add(examples)
        return pool

    @property
    def url(self) -> str:
        """The database's URL, without its password."""
        return self._database.name

    @property
    def database(self) -> Database:
        """The database, for what is kept beside the pool and changes with it."""
        return self._database

    @property
    def version(self) -> int:
        """The current version; 0 while nothing was ever added."""
        with self._database.reading() as connection:
            return self._rows.version(connection)

    def add(self, examples_: Iterable[Example], note: str = "") -> int:
        """Add examples; the new version, or the current one when there are none to add.

        Raises:
            DuplicateIdError: an id twice, or one that is alive in the pool; nothing is added.
            PoolError: an example that cannot be stored; nothing is added.
        """
        rows = [storable(example) for example in examples_]
        if not rows:
            return self.version
        refuse_repeats([str(row["id"]) for row in rows])
        with self._database.writing() as connection:
            version, position = self._rows.next_version(
                connection, "add", len(rows), note, positions=len(rows)
            )
            alive = self._rows.alive(connection, [str(row["id"]) for row in rows])
            if alive:
                raise DuplicateIdError(
                    f"pool {self.name!r} already holds {few(alive)}",
                    hint="relabel or retire it, or give the new example another id",
                )
            for offset, row in enumerate(rows):
                row |= {"pool": self.name, "position": position + offset, "added_in": version}
            connection.execute(sa.insert(examples), rows)
        return version

    def relabel(self, id: str, label: str, note: str = "") -> int:
        """Give an example another label; the new version (the current one if it has it already).

        Raises:
            PoolError: no such example is alive, or the label is empty.
        """
        return self.relabel_many({id: label}, note)

    def relabel_many(self, labels: Mapping[str, str], note: str = "") -> int:
        """Give examples other labels, in one version; the current one when all have theirs.

        Args:
            labels: the new label by id.

        Raises:
            PoolError: an id that is not alive, or an empty label; nothing is relabelled.

        >>> with Pool.in_memory([Example(i, {"text": i}, "x") for i in "abc"]) as pool:
        ...     pool.relabel_many({"a": "y", "b": "y", "c": "x"})
        ...     [e.label for e in pool.examples()]
        2
        ['y', 'y', 'x']
        """
        for id, label in labels.items():
            check_text(label, f"example {id!r}: the label")
        with self._database.writing() as connection:
            old = self._rows.alive(connection, list(labels))
            missing = [id for id in labels if id not in old]
            if missing:
                raise self._unknown(missing)
            changed = [id for id, label in labels.items() if old[id].label != label]
            if not changed:
                return self._rows.version(connection)
            version, _ = self._rows.next_version(connection, "relabel", len(changed), note)
            self._rows.retire(connection, changed, version)
            kept = [
                c.name
                for c in examples.c
                if c.name not in ("revision", "label", "added_in", "retired_in")
            ]
            rows = [
                {name: old[id]._mapping[name] for name in kept}
                | {"label": labels[id], "added_in": version}
                for id in changed
            ]
            connection.execute(sa.insert(examples), rows)
        return version

    def retire(self, ids: Collection[str], note: str = "") -> int:
        """Take examples out; the new version, or the current one when ``ids`` is empty.

        Raises:
            PoolError: an id that is not alive; nothing is retired.
        """
        wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        if not wanted:
            return self.version
        with self._database.writing() as connection:
            alive = self._rows.alive(connection, wanted)
            missing = [id for id in wanted if id not in alive]
            if missing:
                raise self._unknown(missing)
            version, _ = self._rows.next_version(connection, "retire", len(wanted), note)
            self._rows.retire(connection, wanted, version)
        return version

    def examples(self, version: int | None = None, *, synthetic: bool = True) -> list[Example]:
        """The examples of a version, in the order in which they were first added.

        Args:
            version: ``None`` for the current one; 0 is the empty pool.
            synthetic: with ``False``, leave out examples made by augmentation.

        Raises:
            PoolError: a version that does not exist.
        """
        return self.snapshot(version, synthetic=synthetic)[1]

    def snapshot(
        self, version: int | None = None, *, synthetic: bool = True
    ) -> tuple[int, list[Example]]:
        """Version and its examples, read together: what a run pins."""
        with self._database.reading() as connection:
            current = self._rows.version(connection)
            wanted = current if version is None else version
            if not 0 <= wanted <= current:
                raise PoolError(
                    f"pool {self.name!r} has no version {wanted}",
                    hint=f"versions are 0 to {current}",
                )
            query = (
                sa.select(*EXAMPLE)
                .where(examples.c.pool == self.name, alive_in(wanted))
                .order_by(examples.c.position)
            )
            if not (synthetic and self._synthetic):
                query = query.where(examples.c.synthetic.is_(False))
            return wanted, [as_example(row) for row in connection.execute(query)]

    def history(self, id: str) -> list[Revision]:
        """Every state an example ever had, oldest first; empty for an unknown id."""
        query = (
            sa.select(
                *EXAMPLE, examples.c.added_in, examples.c.retired_in, changes.c.at, changes.c.note
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
                Revision(as_example(r), r.added_in, r.retired_in, r.at, r.note)
                for r in connection.execute(query)
            ]

    def changes(self) -> list[Change]:
        """Every version of the pool and what made it, oldest first."""
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
            version = self._rows.version(connection)
            alive = alive_in(version)
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
        """Close the database; a pool in memory is gone."""
        self._database.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Pool({self.url!r}, name={self.name!r})"

    def _unknown(self, ids: Sequence[str]) -> PoolError:
        return PoolError(
            f"pool {self.name!r} holds no {few(ids)}", hint="check the id, or add the example"
        )
