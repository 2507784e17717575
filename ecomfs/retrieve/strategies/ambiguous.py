"""Ambiguity-aware selection: near neighbours that the model itself gets wrong.

Examples on which the model errs leave-one-out lie where its decision is unsure, and correct it
there (Gao et al. 2023, arXiv 2309.07900). They take up to a share of the places; the others are
filled as usual.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ecomfs.errors import ConfigError
from ecomfs.retrieve.strategies.balanced import Balanced
from ecomfs.retrieve.strategies.protocol import WIDE, Candidates, Reach, SelectionStrategy


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Known mistakes among the nearest first, then another strategy.

    Args:
        wrong_ids: ids of the examples that the engine labelled wrongly, leave-one-out.
        share: the part of the places they may take, from 0 to 1.
        others: chooses the rest.
    """

    wrong_ids: Collection[str] = frozenset()
    share: float = 0.5
    others: SelectionStrategy = field(default_factory=Balanced)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share is {self.share}", hint="it lies between 0 and 1")

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours, and what the other strategy wants."""
        other = self.others.reach(k, label_count)
        return Reach(max(WIDE * k, other.nearest), other.per_label, other.far_labels)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The nearest mistakes within the ``4 k`` nearest, then the other strategy's choice."""
        wrong = set(self.wrong_ids)
        near = candidates.positions[: WIDE * k].tolist()
        mistakes = [p for p in near if candidates.pool.ids[p] in wrong]
        chosen = mistakes[: int(self.share * k)]
        rest = self.others.select(candidates, k, seed)
        return (chosen + [p for p in rest if p not in chosen])[:k]
