"""The k most similar examples (KATE; Liu et al. 2021, arXiv 2101.06804)."""

from __future__ import annotations

from dataclasses import dataclass

from ecomfs.retrieve.strategies.protocol import Candidates, Reach


@dataclass(frozen=True, slots=True)
class TopK:
    """Similarity alone decides."""

    def reach(self, k: int, label_count: int) -> Reach:
        """The ``k`` nearest."""
        return Reach(k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The first ``k``."""
        return [int(p) for p in candidates.positions[:k]]
