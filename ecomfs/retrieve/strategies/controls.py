"""Controls: what a study compares similarity against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs.retrieve.strategies.protocol import Candidates, Reach


@dataclass(frozen=True, slots=True)
class Random:
    """Drawn from the whole pool anew for every query, by lots that its text and seed determine."""

    def reach(self, k: int, label_count: int) -> Reach:
        """No neighbours."""
        return Reach(0)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Uniformly, without replacement."""
        size = len(candidates.pool)
        # So many that k are left after the excluded ones are dropped.
        enough = min(size, k + len(candidates.excluded))
        drawn = candidates.lots(seed).choice(size, enough, replace=False)
        return [p for p in drawn.tolist() if p not in candidates.excluded][:k]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same demonstrations for every query.

    Args:
        ids: which; ``None`` draws a label-balanced set with the retriever's seed.
    """

    ids: Sequence[str] | None = None

    def reach(self, k: int, label_count: int) -> Reach:
        """No neighbours."""
        return Reach(0)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The first ``k`` that are not excluded."""
        pool = candidates.pool
        wanted = pool.in_turns(seed).tolist() if self.ids is None else pool.find(self.ids)
        chosen: list[int] = []
        for position in wanted:
            if len(chosen) == k:
                break
            if position not in candidates.excluded:
                chosen.append(position)
        return chosen
