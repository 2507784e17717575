"""Maximal marginal relevance (Carbonell and Goldstein 1998): similar to the query, unlike what
is chosen already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs.errors import ConfigError
from ecomfs.retrieve.strategies.protocol import WIDE, Candidates, Reach


@dataclass(frozen=True, slots=True)
class MMR:
    """Greedily the largest λ · sim(query, c) - (1 - λ) · max sim(chosen, c).

    Args:
        relevance: λ, from 0 (diversity only) to 1 (as ``top_k``).
    """

    relevance: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.relevance <= 1:
            raise ConfigError(f"relevance is {self.relevance}", hint="it lies between 0 and 1")

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours."""
        return Reach(WIDE * k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """One by one; ties go to the nearer."""
        if not len(candidates):
            return []
        likeness = candidates.vectors @ candidates.vectors.T
        redundancy = np.full(len(candidates), -np.inf)
        chosen: list[int] = []
        gain = candidates.similarities.copy()
        while len(chosen) < min(k, len(candidates)):
            best = int(np.argmax(gain))
            chosen.append(best)
            redundancy = np.maximum(redundancy, likeness[best])
            gain = self.relevance * candidates.similarities - (1 - self.relevance) * redundancy
            gain[chosen] = -np.inf
        return [int(candidates.positions[c]) for c in chosen]
