"""Ways to choose demonstrations among a query's neighbours, by name."""

from __future__ import annotations

from ecomfs.errors import ConfigError
from ecomfs.retrieve.strategies.balanced import Balanced
from ecomfs.retrieve.strategies.protocol import Candidates, Reach, SelectionStrategy
from ecomfs.retrieve.strategies.top_k import TopK

__all__ = [
    "STRATEGIES",
    "Balanced",
    "Candidates",
    "Reach",
    "SelectionStrategy",
    "TopK",
    "open_strategy",
]

STRATEGIES: dict[str, type[SelectionStrategy]] = {"balanced": Balanced, "top_k": TopK}


def open_strategy(strategy: str | SelectionStrategy) -> SelectionStrategy:
    """The strategy of a name; a strategy itself passes through.

    Raises:
        ConfigError: no strategy of that name.

    >>> open_strategy("top_k")
    TopK()
    """
    if not isinstance(strategy, str):
        return strategy
    name = strategy.replace("-", "_")
    if name not in STRATEGIES:
        raise ConfigError(
            f"no selection strategy {strategy!r}", hint=f"choose {', '.join(sorted(STRATEGIES))}"
        )
    return STRATEGIES[name]()
