"""Which examples a query may not be shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ecomfs.errors import ConfigError
from ecomfs.retrieve.duplicates import DuplicateFinder
from ecomfs.retrieve.index import VectorIndex, Vectors
from ecomfs.retrieve.strategies.protocol import PoolView


class Exclusion:
    """Turns ids, labels and likeness into positions of the pool.

    Args:
        pool: the pool.
        labels: its labels, by number.
        texts: the examples' texts, by position.
        index: their vectors.
        threshold: similarity from which an example counts as the query itself, or ``None``.
    """

    def __init__(
        self,
        pool: PoolView,
        labels: Sequence[str],
        texts: Sequence[str],
        index: VectorIndex,
        threshold: float | None,
    ) -> None:
        self._pool = pool
        self._labels = labels
        self._duplicates = DuplicateFinder(texts)
        self._index = index
        self._threshold = threshold

    def positions(
        self,
        queries: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None,
        leave_self_out: bool,
        labels: Sequence[Collection[str]] | None = None,
    ) -> list[set[int]]:
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
        excluded: list[set[int]] = [set() for _ in queries]
        for place, query in enumerate(queries):
            if exclude_ids is not None:
                excluded[place].update(self._pool.find(exclude_ids[place]))
            if leave_self_out:
                excluded[place].update(self._duplicates.find(query))
            if labels is not None:
                allowed = set(labels[place])
                for label, members in zip(self._labels, self._pool.groups.members, strict=True):
                    if label not in allowed:
                        excluded[place].update(members.tolist())
        return excluded

    def add_near(self, vectors: Vectors, excluded: Sequence[set[int]]) -> None:
        """Add the examples whose similarity reaches the threshold."""
        if self._threshold is None:
            return
        near = self._index.near(vectors, self._threshold)
        for positions, found in zip(excluded, near, strict=True):
            positions.update(found.tolist())
