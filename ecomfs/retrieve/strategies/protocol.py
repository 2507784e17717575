"""What a selection strategy is given, and what it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.index import Groups, Rows


class PoolView:
    """What strategies may know of the whole pool.

    Attributes:
        ids: ids of the examples, by position.
        labels: number of each example's label, shape (size,).
        groups: positions by label.
        vectors: unit vectors, shape (size, dimensions).
    """

    def __init__(self, ids: Sequence[str], labels: NDArray[np.int64], vectors: Rows) -> None:
        self.ids = tuple(ids)
        self.labels = labels
        self.groups = Groups(labels)
        self.vectors = vectors
        self._position = {id: position for position, id in enumerate(self.ids)}
        self._turns: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: Collection[str]) -> list[int]:
        """Positions of those of ``ids`` that are in the pool, in the order given."""
        return [self._position[id] for id in ids if id in self._position]

    def in_turns(self, seed: int) -> NDArray[np.int64]:
        """All positions, shuffled so that labels take turns: every beginning is balanced.

        >>> view = PoolView("abcd", np.array([0, 0, 0, 1]), np.eye(4, dtype=np.float32))
        >>> sorted(view.labels[view.in_turns(seed=1)][:2].tolist())
        [0, 1]
        """
        if seed not in self._turns:
            lots = np.random.default_rng(seed)
            rank = np.empty(len(self), dtype=np.int64)
            for members in self.groups.members:
                rank[members] = lots.permutation(len(members))
            first = lots.permutation(len(self.groups.members))[self.labels]
            self._turns[seed] = np.lexsort((first, rank))
        return self._turns[seed]


@dataclass(frozen=True, slots=True)
class Candidates:
    """One query and its neighbours, from which demonstrations are chosen.

    Attributes:
        query: the query's text; strategies that draw lots seed them with it.
        positions: places in the pool, most relevant first, shape (n,).
        similarities: cosine to the query, shape (n,).
        label_count: labels that may be shown: those of the pool, or fewer when the query is held
            to some of them.
        excluded: positions that may not be shown.
        pool: the whole pool.
    """

    query: str
    positions: NDArray[np.int64]
    similarities: NDArray[np.float64]
    label_count: int
    excluded: Collection[int]
    pool: PoolView

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Number of each candidate's label, shape (n,)."""
        return self.pool.labels[self.positions]

    @property
    def vectors(self) -> NDArray[np.float64]:
        """Unit vectors of the candidates, shape (n, dimensions)."""
        return self.pool.vectors[self.positions].astype(np.float64)

    def lots(self, seed: int) -> np.random.Generator:
        """A random generator that the query's text and ``seed`` determine: the same row draws
        the same lots in any batch, process and order."""
        digest = hashlib.sha256(self.query.encode("utf-8", "surrogatepass")).digest()
        return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


@dataclass(frozen=True, slots=True)
class Reach:
    """How many candidates a strategy wants to see.

    Attributes:
        nearest: of the whole pool.
        per_label: and of each label, however far away.
        far_labels: whether of all labels, or only of those that the nearest have.
    """

    nearest: int
    per_label: int = 0
    far_labels: bool = True


class SelectionStrategy(Protocol):
    """Chooses ``k`` demonstrations for a query."""

    def reach(self, k: int, label_count: int) -> Reach:
        """How many candidates are wanted for ``k`` demonstrations."""
        ...

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Distinct positions in the pool, none excluded, at most ``k``, whose order does not
        matter. Usually they are among the candidates; they need not be."""
        ...


WIDE = 4
"""Strategies that trade similarity for something else look at this many times k neighbours."""
