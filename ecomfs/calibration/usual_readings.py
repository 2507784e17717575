"""Limits of usual readings of a model, by which unusual ones are found.

The limits are the extremes of n examples of the pool that were read leave-one-out. A new row of the
same kind exceeds one limit with a probability of at most 1 / (n + 1). Most rows beyond a limit are
harmless: it is a reason to check a row, and no proof of an attack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecomfs.screen import DISAGREEMENT, LABEL_MASS

LEAST = 16
"""Fewest readings for the limits."""
SURE = math.log(9.0)
"""Smallest disagreement that is unusual: 0.9 against 0.1."""
DROP = 0.5
"""A label mass below this share of the smallest usual one is unusual."""

Stages = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class UsualReadings:
    """The limits of usual readings, from leave-one-out readings of the pool.

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
        """Compute the limits from the calibrated distributions of the model, those of the experts,
        and the label masses; ``None`` with fewer than sixteen readings."""
        known = [mass for mass in masses if mass is not None]
        both = [disagreement(m, e) for m, e in zip(model, experts, strict=False)]
        found = cls(
            max(both) if len(both) >= LEAST else None, min(known) if len(known) >= LEAST else None
        )
        return None if found == cls() else found

    def doubts(self, stages: Stages, label_mass: float | None) -> tuple[str, ...]:
        """The reasons why a reading is unusual."""
        found = []
        model, experts = stages.get("calibrated") or stages.get("read"), stages.get("experts")
        if self.disagreement is not None and model and experts:
            apart = disagreement(model, experts)
            found += [DISAGREEMENT] if apart > max(self.disagreement, SURE) else []
        if self.mass is not None and label_mass is not None and label_mass < DROP * self.mass:
            found.append(LABEL_MASS)
        return tuple(found)


def disagreement(model: Sequence[float], experts: Sequence[float]) -> float:
    """Log ratio of the probabilities that the model and the experts give to the model's label.

    >>> disagreement([0.5, 0.5], [0.5, 0.5])
    0.0
    """
    best = max(range(len(model)), key=model.__getitem__)
    return math.log(model[best] / max(experts[best], 1e-9))


__all__ = ["UsualReadings", "disagreement"]
