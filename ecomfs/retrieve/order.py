"""The order in which chosen demonstrations stand in the prompt.

Models weigh what they read last most, so the most similar example stands nearest the query
unless told otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ecomfs.errors import ConfigError
from ecomfs.types import Demonstration

Order = Callable[[Sequence[Demonstration], str], list[Demonstration]]
"""Takes demonstrations, most similar first, and the seed of the lots that it may draw."""


def similar_last(chosen: Sequence[Demonstration], seed: str) -> list[Demonstration]:
    """Least to most similar."""
    return list(reversed(chosen))


def similar_first(chosen: Sequence[Demonstration], seed: str) -> list[Demonstration]:
    """Most to least similar."""
    return list(chosen)


def edges(chosen: Sequence[Demonstration], seed: str) -> list[Demonstration]:
    """The most similar at both ends, the least in the middle (models overlook the middle of a
    long context; Liu et al. 2023, arXiv 2307.03172)."""
    return list(chosen[1::2]) + list(reversed(chosen[::2]))


def shuffled(chosen: Sequence[Demonstration], seed: str) -> list[Demonstration]:
    """By lots that the seed determines, which the query's text is a part of."""
    order = list(chosen)
    random.Random(seed).shuffle(order)
    return order


ORDERS: dict[str, Order] = {
    "similar_last": similar_last,
    "similar_first": similar_first,
    "edges": edges,
    "shuffled": shuffled,
}


def open_order(name: str) -> Order:
    """The order of a name; each takes demonstrations most similar first.

    Raises:
        ConfigError: no order of that name.
    """
    order = ORDERS.get(name.replace("-", "_"))
    if order is None:
        raise ConfigError(f"no order {name!r}", hint=f"choose {', '.join(sorted(ORDERS))}")
    return order
