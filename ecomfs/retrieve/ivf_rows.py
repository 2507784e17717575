"""Where the examples of a pool lie in an index whose lists do not change with it.

A *position* is an example's place in the pool, a *row* its place in the index: first the rows of
the lists, as they were built, then those of the tail, which came later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.half import Vectors

Places = NDArray[np.int64]


class Placement:
    """Which row each position is, and the other way round.

    Args:
        base: rows of the lists.
        tail: rows of the tail.
        rows: of each position; ``None``: the pool is as it was when the lists were built, and a
            million numbers need not be kept.

    >>> placed = Placement(3, 1, np.array([2, 3, 0]))  # row 1 went, row 3 came
    >>> placed.rows(np.array([0, 1])).tolist(), placed.positions(np.array([0, 2])).tolist()
    ([2, 3], [2, 0])
    >>> placed.tail_positions.tolist(), placed.gone, placed.alive().tolist()
    ([1], 1, [True, False, True])
    >>> same = Placement(3)
    >>> len(same), same.rows(np.array([1])).tolist(), same.gone, same.alive() is None
    (3, [1], 0, True)
    """

    def __init__(self, base: int, tail: int = 0, rows: Places | None = None) -> None:
        self.base = base
        self.total = base + tail
        self._rows: NDArray[np.int32] | None = None
        self._positions: NDArray[np.int32] | None = None
        if rows is not None:
            self._rows = rows.astype(np.int32)
            self._positions = np.full(self.total, -1, dtype=np.int32)
            self._positions[rows] = np.arange(len(rows), dtype=np.int32)
        elif tail:
            raise ValueError("a tail without rows")

    def __len__(self) -> int:
        return self.base if self._rows is None else len(self._rows)

    def rows(self, positions: Places) -> Places:
        """Rows of positions."""
        return positions if self._rows is None else self._rows[positions].astype(np.int64)

    def positions(self, rows: Places) -> Places:
        """Positions of rows; -1 for a row whose example went."""
        return rows if self._positions is None else self._positions[rows].astype(np.int64)

    @property
    def tail_positions(self) -> Places:
        """Positions of the tail's rows."""
        return self.positions(np.arange(self.base, self.total))

    @property
    def gone(self) -> int:
        """Rows of the lists whose example went."""
        return 0 if self._rows is None else self.base - int((self._rows < self.base).sum())

    def alive(self) -> NDArray[np.bool_] | None:
        """Which rows of the lists are examples still; ``None``: all."""
        if self._positions is None or not self.gone:
            return None
        return np.asarray(self._positions[: self.base] >= 0)

    def mask(self, positions: Any) -> NDArray[np.bool_]:
        """Which rows belong to some positions, given as places or as a mask, shape (total,)."""
        out = np.zeros(self.total, dtype=bool)
        if self._rows is None:
            out[positions] = True
        else:
            out[self._rows[positions]] = True
        return out


class StoredRows:
    """Vectors by position, read from the lists of an index and from its tail."""

    def __init__(self, lists: Any, placed: Placement, tail: Vectors) -> None:
        self._lists = lists
        self._placed = placed
        self._tail = tail

    def __len__(self) -> int:
        return len(self._placed)

    def __getitem__(self, positions: Places) -> Vectors:
        rows = self._placed.rows(positions)
        stored = rows < self._placed.base
        if stored.all():  # nearly always: without a second copy
            return np.asarray(self._lists.reconstruct_batch(rows), dtype=np.float32)
        out = np.empty((len(rows), self._lists.d), dtype=np.float32)
        if stored.any():
            out[stored] = self._lists.reconstruct_batch(rows[stored])
        out[~stored] = self._tail[rows[~stored] - self._placed.base]
        return out


__all__ = ["Placement", "Places", "StoredRows"]
