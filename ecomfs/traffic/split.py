"""Assigns rows of live traffic to variants by a hash of their id."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ecomfs.errors import ConfigError

_RANGE = float(1 << 64)


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """Assigns rows to variants by a hash of their id. An id always gets the same variant, in every
    process and after every restart, and the variant cannot be predicted without the seed.

    Args:
        weights: variant → its share of the traffic, relative to the others.
        seed: seed of the hash; with another seed, a second experiment has other groups than the
            first.

    Raises:
        ConfigError: there are no variants, or a weight is not positive.

    >>> split = TrafficSplit({"A": 3, "B": 1}, seed=7)
    >>> split.of("order-1001"), split.of("order-1001") == split.of("order-1001")
    ('A', True)
    >>> sum(split.of(str(i)) == "B" for i in range(10_000)) / 10_000
    0.2...
    """

    weights: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.weights:
            raise ConfigError("no variants to split traffic between", hint="name two or more")
        for name, weight in self.weights.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise ConfigError(f"variant {name!r}: weight {weight}", hint="use a number above 0")

    @property
    def shares(self) -> dict[str, float]:
        """Variant → share of the traffic; they sum to one."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}

    def of(self, id_: str) -> str:
        """The variant that answers the row with this id."""
        digest = hashlib.blake2b(f"{self.seed}\0{id_}".encode(), digest_size=8).digest()
        at = int.from_bytes(digest, "big") / _RANGE * sum(self.weights.values())
        for name, weight in self.weights.items():
            at -= weight
            if at < 0:
                return name
        return list(self.weights)[-1]  # rounding made the sum less than one
