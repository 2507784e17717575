"""Adaptive k: few demonstrations where the neighbours agree, all of them where they do not
(in the spirit of adaptive in-context learning, arXiv 2403.06402)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ecomfs.errors import ConfigError
from ecomfs.retrieve.strategies.balanced import Balanced
from ecomfs.retrieve.strategies.protocol import Candidates, Reach, SelectionStrategy


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Another strategy with a k of the query's own.

    With a the share of the most frequent label among the k nearest, the disagreement is
    (1 - a) / (1 - 1/min(k, L)), 0 when all agree and 1 when all labels are as frequent, and
    k' = least + disagreement · (k - least), rounded up.

    Args:
        least: demonstrations where all neighbours agree.
        inner: chooses them.
    """

    least: int = 2
    inner: SelectionStrategy = field(default_factory=Balanced)

    def __post_init__(self) -> None:
        if self.least < 0:
            raise ConfigError(f"least is {self.least}", hint="use 0 or more")

    def reach(self, k: int, label_count: int) -> Reach:
        """What the inner strategy wants, for the largest k."""
        inner = self.inner.reach(k, label_count)
        # A smaller k may be less than the number of labels: then only near labels are asked for.
        return Reach(max(k, inner.nearest), inner.per_label, inner.far_labels)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The inner strategy's choice of k'."""
        nearest = candidates.labels[:k]
        most = min(len(nearest), candidates.label_count)
        disagreement = 0.0
        if most > 1:
            top = np.bincount(nearest).max() / len(nearest)
            disagreement = (1 - top) / (1 - 1 / most)
        least = min(self.least, k)
        return self.inner.select(
            candidates, least + int(np.ceil(disagreement * (k - least) - 1e-9)), seed
        )
