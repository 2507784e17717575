"""From a row to the demonstrations that its prompt shows.

index        exact nearest neighbours
strategies   which neighbours become demonstrations, one file a strategy
order        how they stand in the prompt
retriever    Retriever: all of it, and the neighbours' own vote
"""

from __future__ import annotations

from ecomfs.retrieve.index import DenseIndex, Hits
from ecomfs.retrieve.order import ORDERS, open_order
from ecomfs.retrieve.retriever import Retriever
from ecomfs.retrieve.strategies import STRATEGIES, SelectionStrategy, open_strategy

__all__ = [
    "ORDERS",
    "STRATEGIES",
    "DenseIndex",
    "Hits",
    "Retriever",
    "SelectionStrategy",
    "open_order",
    "open_strategy",
]
