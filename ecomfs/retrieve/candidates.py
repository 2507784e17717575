"""Which of many scores are worth a second look: the best, and those that rounding cannot tell
apart from the last of the best."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.half import Vectors

ROUNDING = 4e-6  # what a float32 product of unit vectors may be off, generously


class Groups:
    """A partition of the pool.

    Args:
        group_of: number of each position's group, shape (size,), counting from 0.

    >>> [g.tolist() for g in Groups(np.array([0, 1, 0])).members]
    [[0, 2], [1]]
    """

    def __init__(self, group_of: NDArray[np.int64]) -> None:
        self.group_of = group_of
        count = int(group_of.max(initial=-1)) + 1
        order = np.argsort(group_of, kind="stable")
        bounds = np.searchsorted(group_of[order], np.arange(1, count))
        self.members = np.split(order, bounds)
        self.sizes = np.array([len(members) for members in self.members], dtype=np.int64)

    def around(self, positions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The groups that ``positions`` are from."""
        return [self.members[group] for group in np.unique(self.group_of[positions])]


class Best:
    """The ``n`` best of scores that come block by block, with all that rounding cannot tell
    apart from the last of them; never one that is -inf."""

    def __init__(self, queries: int, n: int) -> None:
        self._n = n
        self._bounds = np.full(queries, -np.inf if n > 0 else np.inf, dtype=np.float32)
        self._rows = np.empty(0, dtype=np.int64)
        self._positions = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0, dtype=np.float32)
        self._new: list[tuple[NDArray[np.int64], NDArray[np.int64], Vectors]] = []
        self._count = 0

    def add(self, scores: Vectors, start: int) -> None:
        """Scores of the positions from ``start`` on, shape (queries, positions)."""
        if not start:
            rows, places = _near(scores, self._n)
        else:
            rows, places = _where(scores >= self._bounds[:, None])
        self._new.append((rows, places + start, scores[rows, places]))
        self._count += len(rows)
        if not start or self._count > 4 * len(self._bounds) * (self._n + 16):
            self._drop()

    def found(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and positions, ascending."""
        self._drop()
        return self._rows, self._positions

    def _drop(self) -> None:
        parts = [(self._rows, self._positions, self._scores), *self._new]
        rows, positions, scores = (np.concatenate(p) for p in zip(*parts, strict=True))
        self._new, self._count = [], 0
        order = np.lexsort((-scores, rows))
        starts = np.searchsorted(rows[order], np.arange(len(self._bounds) + 1))
        last = starts[:-1] + self._n - 1
        full = (last < starts[1:]) & (self._n > 0)
        self._bounds[full] = scores[order[last[full]]] - ROUNDING
        kept = np.flatnonzero((scores >= self._bounds[rows]) & (scores > -np.inf))
        kept = kept[np.lexsort((positions[kept], rows[kept]))]
        self._rows, self._positions, self._scores = rows[kept], positions[kept], scores[kept]


def pick(
    scores: Vectors,
    n: int,
    groups: Groups | None,
    per_group: int,
    far_groups: bool,
    *,
    rounding: float = ROUNDING,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row of scores, the ``n`` best and ``per_group`` of each group, with all that
    rounding cannot tell apart from the last; never one whose score is -inf.

    Returns:
        Rows and positions, ascending.
    """
    rows, positions = _near(scores, n, rounding)
    if groups is None or not per_group:
        return rows, positions
    size = scores.shape[1]
    keys = [rows * size + positions]
    around = None if far_groups else np.unique(rows * size + groups.group_of[positions])
    for number, members in enumerate(groups.members):
        if around is None:
            asked = np.arange(len(scores))
            inside, places = _near(scores[:, members], per_group, rounding)
        else:
            asked = around[around % size == number] // size
            inside, places = _near(scores[np.ix_(asked, members)], per_group, rounding)
        keys.append(asked[inside] * size + members[places])
    every = np.unique(np.concatenate(keys))
    return every // size, every % size


def _near(
    scores: Vectors, n: int, rounding: float = ROUNDING
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return _where(within(scores, n, rounding))


def _where(found: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``np.nonzero`` of a table that is false nearly everywhere, in a tenth of the time."""
    rows, places = np.divmod(np.flatnonzero(found), found.shape[1])
    return rows, places


def within(scores: Vectors, n: int, rounding: float = ROUNDING) -> NDArray[np.bool_]:
    """Which scores, along the last axis, are among the ``n`` largest or cannot be told from the
    last of them for rounding; never -inf."""
    size = scores.shape[-1]
    if n <= 0 or not scores.size:
        return np.zeros(scores.shape, dtype=bool)
    if n >= size:
        return scores > -np.inf
    if scores.ndim == 1:
        bound = np.partition(scores, size - n)[size - n] - rounding
        return np.asarray(scores >= (bound if bound > -np.inf else np.finfo(scores.dtype).min))
    bounds = np.partition(scores, size - n, axis=-1)[..., size - n, None] - rounding
    found = scores >= bounds
    if bounds.min() == -np.inf:  # fewer than n are allowed: what is forbidden stays out
        found &= scores > -np.inf
    return found


def top(
    groups: NDArray[np.int64], n: int, per_group: int, wanted: Iterable[int]
) -> NDArray[np.int64]:
    """Which of a ranking stay: the first ``n`` and the first ``per_group`` of each wanted group.

    Args:
        groups: number of each entry's group, best entry first.

    >>> top(np.array([0, 0, 0, 1, 0, 1]), 2, 1, [0, 1]).tolist()
    [0, 1, 3]
    """
    keep = np.arange(len(groups)) < n
    for group in wanted:
        keep[np.flatnonzero(groups == group)[:per_group]] = True
    return np.flatnonzero(keep)


def top_of_each(
    rows: NDArray[np.int64],
    n: int,
    groups: NDArray[np.int64] | None,
    per_group: int,
    far_groups: bool,
) -> NDArray[np.int64]:
    """As :func:`top`, of many rankings that stand one after another.

    Args:
        rows: number of each entry's ranking, ascending.
        groups: number of each entry's group; ``None``: only the first ``n`` stay.
        far_groups: whether all groups are wanted, or only those of a ranking's first ``n``.

    >>> rows, groups = np.array([0, 0, 0, 7, 7, 7]), np.array([0, 0, 1, 0, 0, 1])
    >>> top_of_each(rows, 1, groups, 1, True).tolist()
    [0, 2, 3, 5]
    >>> top_of_each(rows, 1, groups, 2, False).tolist()
    [0, 1, 3, 4]
    """
    keep = _turns(rows) < n
    if groups is not None and len(rows):
        keys = rows * (int(groups.max()) + 1) + groups
        order = np.argsort(keys, kind="stable")
        turns = np.empty_like(order)
        turns[order] = _turns(keys[order])
        wanted = turns < per_group
        if not far_groups:
            wanted &= np.isin(keys, keys[keep])
        keep |= wanted
    return np.flatnonzero(keep)


def _turns(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values stand before each value."""
    return np.arange(len(ascending)) - np.searchsorted(ascending, ascending)
