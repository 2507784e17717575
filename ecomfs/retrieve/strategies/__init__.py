"""Ways to choose demonstrations among a query's neighbours, by name.

balanced     candidate labels take turns (default)
top_k        the most similar
mmr, dpp     similar and diverse
ambiguous    with the model's own mistakes nearby
reweighted   rare labels count for more
adaptive     fewer where the neighbours agree
random, fixed   controls
"""

from __future__ import annotations

from collections.abc import Callable

from ecomfs.errors import ConfigError
from ecomfs.retrieve.strategies.adaptive import Adaptive
from ecomfs.retrieve.strategies.ambiguous import Ambiguous
from ecomfs.retrieve.strategies.balanced import Balanced
from ecomfs.retrieve.strategies.controls import Fixed, Random
from ecomfs.retrieve.strategies.dpp import DPP
from ecomfs.retrieve.strategies.mmr import MMR
from ecomfs.retrieve.strategies.protocol import Candidates, PoolView, Reach, SelectionStrategy
from ecomfs.retrieve.strategies.reweighted import Reweighted
from ecomfs.retrieve.strategies.top_k import TopK

__all__ = [
    "DPP",
    "MMR",
    "STRATEGIES",
    "Adaptive",
    "Ambiguous",
    "Balanced",
    "Candidates",
    "Fixed",
    "PoolView",
    "Random",
    "Reach",
    "Reweighted",
    "SelectionStrategy",
    "TopK",
    "open_strategy",
]

STRATEGIES: dict[str, Callable[[], SelectionStrategy]] = {
    "adaptive": Adaptive,
    "ambiguous": Ambiguous,
    "balanced": Balanced,
    "dpp": DPP,
    "fixed": Fixed,
    "mmr": MMR,
    "random": Random,
    "reweighted": Reweighted,
    "top_k": TopK,
}


def open_strategy(strategy: str | SelectionStrategy) -> SelectionStrategy:
    """The strategy of a name with its defaults; a strategy itself passes through.

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
