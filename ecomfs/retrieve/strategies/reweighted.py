"""Selection that makes up for an imbalanced pool: rare labels count for more.

A label that is r times rarer than the most frequent one gains strength · ln r, measured in
standard deviations of the candidates' similarities, before the nearest are taken. This is the
class-frequency part of Gao et al. 2025, arXiv 2502.04037, as a shift of the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs.retrieve.strategies.protocol import WIDE, Candidates, Reach


@dataclass(frozen=True, slots=True)
class Reweighted:
    """The largest similarity plus the bonus of the label.

    Args:
        strength: 0 is ``top_k``.
    """

    strength: float = 0.5

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours and, where that is cheap, ``k`` of each label."""
        return Reach(WIDE * k, per_label=k, far_labels=label_count <= k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The ``k`` best; ties go to the nearer."""
        if not len(candidates):
            return []
        sizes = np.array([len(m) for m in candidates.pool.groups.members], dtype=np.float64)
        rarity = np.log(sizes.max() / sizes)[candidates.labels]
        spread = candidates.similarities.std()
        score = candidates.similarities + self.strength * spread * rarity
        best = np.argsort(-score, kind="stable")[:k]
        return [int(p) for p in candidates.positions[best]]
