"""Novelty: tests whether a row belongs to any of the labels.

Three signs that it does not: no labelled example is similar, the answer is spread over many labels,
and the model gives little probability to any label. Each is standardised on leave-one-out rows of
the pool, which do belong. Their sum gives a conformal p-value (Bates, Candès, Lei, Romano, Sesia
2023, *Annals of Statistics* 51(1), arXiv:2104.08279): of rows that belong, at most a share ``a``
has a p-value of ``a`` or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecomfs.calibration.calibrate import FloatArray

MINIMUM = 20
"""Fewest rows: with fewer, no p-value can be as low as 0.05."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """Computes how much a row differs from the rows of the pool.

    Attributes:
        centre, spread: mean and standard deviation of each sign over rows of the pool.
        reference: scores of the rows of the pool, ascending.

    >>> rng = np.random.default_rng(0)
    >>> similar, mass = rng.normal(0.9, 0.02, 50), rng.uniform(0.8, 1, 50)
    >>> known = novelty_signs(similar, rng.dirichlet([9, 1], 50), mass)
    >>> novelty = Novelty.fit(known)
    >>> strange = novelty_signs([0.7], [[0.5, 0.5]], [0.1])
    >>> novelty.p_value(strange).round(3).tolist(), bool(novelty.p_value(known).mean() > 0.4)
    ([0.02], True)
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    reference: tuple[float, ...]

    @classmethod
    def fit(cls, known: FloatArray) -> Novelty:
        """Fit on the signs of rows that belong, shape (n, signs), n at least 1."""
        centre, spread = known.mean(axis=0), known.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        scores = ((known - centre) / spread).sum(axis=1)
        return cls(tuple(centre.tolist()), tuple(spread.tolist()), tuple(np.sort(scores).tolist()))

    def score(self, rows: FloatArray) -> FloatArray:
        """Sum of the standardised signs, shape (n,); higher means more novel."""
        return np.asarray(((rows - self.centre) / np.array(self.spread)).sum(axis=1))

    def p_value(self, rows: FloatArray) -> FloatArray:
        """Conformal p-values, shape (n,): the share of rows that belong with a score at least as
        high."""
        n = len(self.reference)
        at_least = n - np.searchsorted(np.array(self.reference), self.score(rows), side="left")
        return np.asarray((at_least + 1) / (n + 1))


def novelty_signs(
    similarity: Sequence[float] | FloatArray,
    probabilities: Sequence[Sequence[float]] | FloatArray,
    label_mass: Sequence[float] | FloatArray,
) -> FloatArray:
    """The signs of novelty of n rows, shape (n, 3), each higher for a more novel row: the negative
    similarity of the nearest example, the entropy of the answer relative to its maximum, and the
    negative logarithm of the label mass (0 if it is not known).

    >>> novelty_signs([0.8], [[0.5, 0.5]], [1.0]).tolist()
    [[-0.8, 1.0, -0.0]]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1) / max(np.log(p.shape[1]), 1e-12)
    mass = np.asarray(label_mass, dtype=np.float64)
    rest = -np.log(np.maximum(np.where(np.isnan(mass), 1.0, mass), 1e-6))
    return np.column_stack([-np.asarray(similarity, dtype=np.float64), entropy, rest])


__all__ = ["MINIMUM", "Novelty", "novelty_signs"]
