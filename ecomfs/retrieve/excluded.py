"""What a query may not be shown: some examples, and all of the labels that it cannot have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.candidates import Groups

Places = NDArray[np.int64]


class Excluded(Collection[int]):
    """Positions of a pool. Those of whole groups are not listed: of a million examples most are
    excluded where a row may have 20 of 77 labels.

    Args:
        positions: of single examples.
        groups: the examples of each label.
        allowed: numbers of the groups that are not excluded; ``None``: all.

    >>> groups = Groups(np.array([0, 1, 2, 0]))
    >>> excluded = Excluded({3}, groups, allowed=[0, 2])
    >>> sorted(excluded), len(excluded), 1 in excluded, 2 in excluded
    ([1, 3], 2, True, False)
    >>> excluded.free(np.array([2, 1, 0])).tolist(), excluded.left(groups).tolist()
    ([True, False, True], [1, 0, 1])
    >>> len(excluded | {0})
    3
    """

    __slots__ = ("_allowed", "_groups", "single")

    def __init__(
        self,
        positions: Iterable[int] = (),
        groups: Groups | None = None,
        allowed: Collection[int] | None = None,
    ) -> None:
        self.single = set(positions)
        self._groups = groups
        self._allowed: NDArray[np.bool_] | None = None
        if groups is not None and allowed is not None:
            shown = np.zeros(len(groups.members), dtype=bool)
            shown[list(allowed)] = True
            self._allowed = None if shown.all() else shown

    @classmethod
    def of(cls, positions: Collection[int]) -> Excluded:
        """The positions, as what they are or as an :class:`Excluded`."""
        return positions if isinstance(positions, cls) else cls(positions)

    def __contains__(self, position: object) -> bool:
        if position in self.single:
            return True
        if self._allowed is None or self._groups is None or not isinstance(position, SupportsIndex):
            return False
        return not self._allowed[self._groups.group_of[position]]

    def __len__(self) -> int:
        if self._allowed is None or self._groups is None:
            return len(self.single)
        return int((self._groups.sizes - self.left(self._groups)).sum())

    def __iter__(self) -> Iterator[int]:
        return iter(self.places().tolist())

    def __or__(self, positions: Collection[int]) -> Excluded:
        more = Excluded(self.single.union(positions))
        more._groups, more._allowed = self._groups, self._allowed
        return more

    def update(self, positions: Iterable[int]) -> None:
        """Exclude single examples, too."""
        self.single.update(positions)

    @property
    def whole_groups(self) -> bool:
        """Whether any group is excluded."""
        return self._allowed is not None

    def places(self) -> Places:
        """All of them, each once; O(pool) where a group is excluded."""
        if self._groups is None or not self.whole_groups:
            return np.fromiter(self.single, dtype=np.int64, count=len(self.single))
        shut = self.by_group(0, len(self._groups.group_of))
        shut[list(self.single)] = True
        return np.flatnonzero(shut)

    def by_group(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which of the positions from ``start`` to ``stop`` are excluded with their group."""
        if self._allowed is None or self._groups is None:
            return np.zeros(stop - start, dtype=bool)
        return np.asarray(~self._allowed[self._groups.group_of[start:stop]])

    def left(self, groups: Groups) -> NDArray[np.int64]:
        """How many examples of each group are not excluded. ``groups`` are those that this was
        made with, where it was made with any."""
        left = groups.sizes.copy()
        if self.single:
            gone = groups.group_of[list(self.single)]
            left -= np.bincount(gone, minlength=len(left))
        if self._allowed is not None:
            left[~self._allowed] = 0
        return left

    def free(self, positions: Places) -> NDArray[np.bool_]:
        """Which of some positions are not excluded."""
        free = np.ones(len(positions), dtype=bool)
        if self._allowed is not None and self._groups is not None:
            free = np.asarray(self._allowed[self._groups.group_of[positions]])
        if self.single:
            free &= np.fromiter((p not in self.single for p in positions.tolist()), dtype=bool)
        return free


__all__ = ["Excluded"]
