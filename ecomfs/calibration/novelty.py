"""Novelty: does a row belong to any of the labels at all?

Three signs that it does not: no labelled example is like it, the answer is spread over many
labels, and the model puts little probability on any label. Each is measured against the
leave-one-out rows of the pool, which do belong; their sum is turned into a conformal p-value
(Bates, Candès, Lei, Romano, Sesia 2023, *Annals of Statistics* 51(1), arXiv:2104.08279): among
rows that belong, at most a share ``a`` has a p-value of ``a`` or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecomfs.calibration.calibrate import FloatArray

MINIMUM = 20
"""Fewer rows give no p-value of 1 in 20."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """How unlike the pool's own rows a row is.

    Attributes:
        centre, spread: mean and standard deviation of each sign over the pool's rows.
        reference: the pool's rows' own scores, ascending.

    >>> rng = np.random.default_rng(0)
    >>> known = signs(rng.normal(0.9, 0.02, 50), rng.dirichlet([9, 1], 50), rng.uniform(0.8, 1, 50))
    >>> novelty = Novelty.fit(known)
    >>> strange = signs([0.7], [[0.5, 0.5]], [0.1])
    >>> novelty.p_value(strange).round(3).tolist(), bool(novelty.p_value(known).mean() > 0.4)
    ([0.02], True)
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    reference: tuple[float, ...]

    @classmethod
    def fit(cls, known: FloatArray) -> Novelty:
        """From the signs of rows that belong, shape (n, signs), n at least 1."""
        centre, spread = known.mean(axis=0), known.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        scores = ((known - centre) / spread).sum(axis=1)
        return cls(tuple(centre.tolist()), tuple(spread.tolist()), tuple(np.sort(scores).tolist()))

    def score(self, rows: FloatArray) -> FloatArray:
        """The sum of the standardised signs, shape (n,); higher is stranger."""
        return np.asarray(((rows - self.centre) / np.array(self.spread)).sum(axis=1))

    def p_value(self, rows: FloatArray) -> FloatArray:
        """Share of rows that belong which would look at least as strange, shape (n,)."""
        n = len(self.reference)
        at_least = n - np.searchsorted(np.array(self.reference), self.score(rows), side="left")
        return np.asarray((at_least + 1) / (n + 1))


def signs(
    similarity: Sequence[float] | FloatArray,
    probabilities: Sequence[Sequence[float]] | FloatArray,
    label_mass: Sequence[float] | FloatArray,
) -> FloatArray:
    """The signs of n rows, shape (n, 3), each higher for a stranger row: distance to the nearest
    example, entropy of the answer as a share of the most there can be, and minus the logarithm
    of the label mass (0 where it is not known).

    >>> signs([0.8], [[0.5, 0.5]], [1.0]).tolist()
    [[-0.8, 1.0, -0.0]]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1) / max(np.log(p.shape[1]), 1e-12)
    mass = np.asarray(label_mass, dtype=np.float64)
    rest = -np.log(np.maximum(np.where(np.isnan(mass), 1.0, mass), 1e-6))
    return np.column_stack([-np.asarray(similarity, dtype=np.float64), entropy, rest])


__all__ = ["MINIMUM", "Novelty", "signs"]
