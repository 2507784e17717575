"""Determinantal point process: the set of demonstrations that is relevant and spans most.

The kernel is L = diag(r) · S · diag(r) with S the cosines between candidates and relevance
r = exp(z / 2 · sharpness), z the similarity to the query standardised over the candidates. The
most probable set is found greedily with incremental Cholesky factors (Chen et al. 2018,
arXiv 1709.05135); demonstrations chosen so were proposed by Ye et al. 2023, arXiv 2302.05698.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs.retrieve.strategies.protocol import WIDE, Candidates, Reach

_NOTHING_NEW = 1e-10  # a candidate inside the span of the chosen ones


@dataclass(frozen=True, slots=True)
class DPP:
    """Greedy maximum of the determinant.

    Args:
        sharpness: how much relevance counts against diversity; 0 ignores the query.
    """

    sharpness: float = 1.0

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours."""
        return Reach(WIDE * k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """One by one; when nothing adds volume any more (duplicates), the nearest that are left."""
        size = len(candidates)
        if not size:
            return []
        similarities = candidates.similarities
        spread = similarities.std() or 1.0
        relevance = np.exp(self.sharpness * (similarities - similarities.mean()) / spread / 2)
        vectors = candidates.vectors * relevance[:, None]
        volume = np.einsum("ij,ij->i", vectors, vectors)
        factors = np.zeros((size, 0))
        chosen: list[int] = []
        while len(chosen) < min(k, size):
            best = int(np.argmax(volume))
            if volume[best] < _NOTHING_NEW:
                left = (c for c in range(size) if c not in chosen)
                chosen += [c for c, _ in zip(left, range(k - len(chosen)), strict=False)]
                break
            chosen.append(best)
            row = (vectors @ vectors[best] - factors @ factors[best]) / np.sqrt(volume[best])
            factors = np.column_stack([factors, row])
            volume = volume - row**2
            volume[chosen] = -np.inf
        return [int(candidates.positions[c]) for c in chosen]
