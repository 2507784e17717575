"""Which examples a query may not be shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from ecomfs.errors import ConfigError
from ecomfs.retrieve.duplicates import DuplicateFinder
from ecomfs.retrieve.excluded import Excluded
from ecomfs.retrieve.index import VectorIndex, Vectors
from ecomfs.retrieve.strategies import PoolView


class Exclusion:
    """Turns ids, labels and likeness into positions of the pool.

    Args:
        pool: the pool.
        labels: its labels, by number.
        texts: the examples' texts, by position.
        index: their vectors.
        threshold: similarity from which an example counts as the query itself, or ``None``.
        sources: of each example, the id of the one it was made from, or nothing. An example that
            is excluded by its id or its text takes with it all that was made from it, and what
            it was made from: a rewrite tells the answer of its source.
    """

    def __init__(
        self,
        pool: PoolView,
        labels: Sequence[str],
        texts: Sequence[str],
        index: VectorIndex,
        threshold: float | None,
        sources: Sequence[str] = (),
    ) -> None:
        self._pool = pool
        self._numbers = {label: number for number, label in enumerate(labels)}
        self._duplicates = DuplicateFinder(texts)
        self._index = index
        self._threshold = threshold
        self._kin = _Kin(pool.ids, sources) if any(sources) else None

    def positions(
        self,
        queries: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None,
        leave_self_out: bool,
        labels: Sequence[Collection[str]] | None = None,
    ) -> list[Excluded]:
        """For each query, what its ids, its text and its labels exclude; :meth:`add_near` adds
        what its vector excludes.

        Raises:
            ConfigError: an argument is not aligned with ``queries``.
        """
        for name, given in (("exclude_ids", exclude_ids), ("labels", labels)):
            if given is not None and len(given) != len(queries):
                raise ConfigError(f"{len(queries)} queries but {len(given)} entries in {name}")
            if given is not None and any(isinstance(entry, str) for entry in given):
                raise ConfigError(f"{name} takes a collection for each query, not a text")
        excluded = []
        for place, query in enumerate(queries):
            single: set[int] = set()
            if exclude_ids is not None:
                single.update(self._pool.find(exclude_ids[place]))
            if leave_self_out:
                single.update(self._duplicates.find(query))
            if self._kin is not None:
                self._kin.join(single)
            allowed = None
            if labels is not None:
                allowed = [self._numbers[name] for name in labels[place] if name in self._numbers]
            excluded.append(Excluded(single, self._pool.groups, allowed))
        return excluded

    def add_near(self, vectors: Vectors, excluded: Sequence[Excluded]) -> None:
        """Add the examples whose similarity reaches the threshold."""
        if self._threshold is None:
            return
        near = self._index.near(vectors, self._threshold)
        for positions, found in zip(excluded, near, strict=True):
            positions.update(found.tolist())
            if self._kin is not None:
                self._kin.join(positions.single)


class _Kin:
    """Examples that stem from the same one."""

    def __init__(self, ids: Sequence[str], sources: Sequence[str]) -> None:
        self._roots = [source or own for own, source in zip(ids, sources, strict=True)]
        self._members: dict[str, list[int]] = defaultdict(list)
        for position, root in enumerate(self._roots):
            self._members[root].append(position)

    def join(self, positions: set[int]) -> None:
        """Add the kin of ``positions`` to them."""
        for position in list(positions):
            positions.update(self._members[self._roots[position]])
