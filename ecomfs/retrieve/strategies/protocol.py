"""What a selection strategy is given, and what it answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Candidates:
    """The neighbours of one query from which demonstrations are chosen.

    Attributes:
        query: the query's text; strategies that draw lots seed them with it.
        positions: places in the pool, most similar first, shape (n,).
        similarities: to the query, shape (n,).
        labels: number of each candidate's label, shape (n,).
        label_count: labels that may be shown: those of the pool, or fewer when the query is held
            to some of them.
        vectors: unit vectors of the candidates, shape (n, dimensions).
    """

    query: str
    positions: NDArray[np.int64]
    similarities: NDArray[np.float64]
    labels: NDArray[np.int64]
    label_count: int
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.positions)

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
    """Chooses ``k`` demonstrations from a query's neighbours."""

    def reach(self, k: int, label_count: int) -> Reach:
        """How many candidates are wanted for ``k`` demonstrations."""
        ...

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Distinct places *in the candidates* (not in the pool), at most ``k``, fewer only when
        there are fewer; their order does not matter."""
        ...
