"""What a search gives: the neighbours of a query, or of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Hits:
    """The neighbours of one query, most similar first; ties in the order of the pool.

    Attributes:
        positions: places in the pool, shape (n,).
        similarities: cosine to the query, shape (n,).
    """

    positions: NDArray[np.int64]
    similarities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)


class HitTable(Sequence[Hits]):
    """The neighbours of many queries where each has as many: two arrays, of which a query's
    :class:`Hits` are made when somebody asks for them.

    Attributes:
        positions: shape (queries, n).
        similarities: shape (queries, n).

    >>> table = HitTable(np.array([[2, 0], [1, 2]]), np.array([[0.9, 0.4], [0.8, 0.1]]))
    >>> len(table), table[1].positions.tolist(), [len(hits) for hits in table[:1]]
    (2, [1, 2], [2])
    """

    __slots__ = ("positions", "similarities")

    def __init__(self, positions: NDArray[np.int64], similarities: NDArray[np.float64]) -> None:
        self.positions = positions
        self.similarities = similarities

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, place: int) -> Hits: ...
    @overload
    def __getitem__(self, place: slice) -> HitTable: ...
    def __getitem__(self, place: int | slice) -> Hits | HitTable:
        kind = HitTable if isinstance(place, slice) else Hits
        return kind(self.positions[place], self.similarities[place])

    def __iter__(self) -> Iterator[Hits]:
        return map(Hits, self.positions, self.similarities)


__all__ = ["HitTable", "Hits"]
