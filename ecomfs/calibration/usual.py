"""What readings of a model usually look like: beside it, some are doubtful.

Each of n examples of the pool was read as if it were new. A new row of the same kind is beyond all
of them in one respect with a probability of at most 1 / (n + 1). Most rows beyond them are
harmless: a reason to look twice, not a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecomfs.screen import DISAGREEMENT, LABEL_MASS

LEAST = 16
"""Readings from which on there is a usual."""
SURE = math.log(9.0)
"""Model and experts disagree at least this much: 0.9 beside 0.1."""
DROP = 0.5
"""The part of the smallest usual label mass below which a mass is doubtful."""

Stages = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class UsualReadings:
    """The most unusual of the readings of the pool's own examples.

    Attributes:
        disagreement: largest :func:`disagreement` of model and experts; ``None``: not known.
        mass: smallest label mass; ``None``: not known.

    >>> usual = UsualReadings(disagreement=2.5, mass=0.4)
    >>> usual.doubts({"calibrated": (0.99, 0.01), "experts": (0.05, 0.95)}, label_mass=0.9)
    ('disagreement',)
    >>> usual.doubts({"calibrated": (0.6, 0.4), "experts": (0.5, 0.5)}, label_mass=0.1)
    ('label-mass',)
    """

    disagreement: float | None = None
    mass: float | None = None

    @classmethod
    def of(
        cls,
        model: Sequence[Sequence[float]],
        experts: Sequence[Sequence[float]],
        masses: Sequence[float | None],
    ) -> UsualReadings | None:
        """Of readings: the model as it is calibrated, the experts, and the label masses. ``None``
        of fewer than sixteen."""
        known = [mass for mass in masses if mass is not None]
        both = [disagreement(m, e) for m, e in zip(model, experts, strict=False)]
        found = cls(
            max(both) if len(both) >= LEAST else None, min(known) if len(known) >= LEAST else None
        )
        return None if found == cls() else found

    def doubts(self, stages: Stages, label_mass: float | None) -> tuple[str, ...]:
        """The reasons why a reading is unlike these."""
        found = []
        model, experts = stages.get("calibrated") or stages.get("read"), stages.get("experts")
        if self.disagreement is not None and model and experts:
            apart = disagreement(model, experts)
            found += [DISAGREEMENT] if apart > max(self.disagreement, SURE) else []
        if self.mass is not None and label_mass is not None and label_mass < DROP * self.mass:
            found.append(LABEL_MASS)
        return tuple(found)


def disagreement(model: Sequence[float], experts: Sequence[float]) -> float:
    """How much surer the model is of its label than the experts are of the same: the logarithm of
    the ratio.

    >>> disagreement([0.5, 0.5], [0.5, 0.5])
    0.0
    """
    best = max(range(len(model)), key=model.__getitem__)
    return math.log(model[best] / max(experts[best], 1e-9))


__all__ = ["UsualReadings", "disagreement"]
