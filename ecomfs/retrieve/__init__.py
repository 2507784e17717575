"""A row to the k most similar labelled examples, chosen and ordered for its prompt."""

from ecomfs.retrieve.choose import DEFAULT_WEIGHT, Choice, choose_similarity
from ecomfs.retrieve.index import DenseIndex, Hits, VectorIndex
from ecomfs.retrieve.index_store import build_index
from ecomfs.retrieve.lexical import LexicalIndex
from ecomfs.retrieve.order import ORDERS, open_order
from ecomfs.retrieve.prefix_cache import PrefixCacheReport, simulate_prefix_cache
from ecomfs.retrieve.queries import Queries
from ecomfs.retrieve.retriever import Retriever
from ecomfs.retrieve.sharing import Arrangement, PrefixSharing, Sharing
from ecomfs.retrieve.tabular import TabularSpace
from ecomfs.retrieve.vote import kernel_vote

__all__ = [
    "DEFAULT_WEIGHT",
    "ORDERS",
    "Arrangement",
    "Choice",
    "DenseIndex",
    "Hits",
    "LexicalIndex",
    "PrefixCacheReport",
    "PrefixSharing",
    "Queries",
    "Retriever",
    "Sharing",
    "TabularSpace",
    "VectorIndex",
    "build_index",
    "choose_similarity",
    "kernel_vote",
    "open_order",
    "simulate_prefix_cache",
]
