"""From a row to the demonstrations that its prompt shows.

encode         rows as vectors: of their text, of their fields (tabular), or of both
index, ivf     neighbours by vectors: exact, or approximate above 100,000 examples
tiles          products that round a pair of vectors the same way always: small pools
second_look    candidates in their order, by similarities that do not depend on the batch
index_store    choosing, updating and keeping an index
lexical        neighbours by shared terms (BM25)
fusion         rankings fused
strategies     which neighbours become demonstrations, one file a strategy
order          how they stand in the prompt
choose         which of them finds the better neighbours in a pool, leave-one-out
neighbourhood  a pool in which neighbours are found, and their own vote
retriever      Retriever: some of the neighbours, chosen and ordered
probe          LinearProbe: a closed-form linear classifier on the vectors
experts        Experts: the vote and the probe, the answer without a language model
shortlist      of many labels, the few that a row may have
sharing        demonstrations that many prompts have in common
prefix_cache   what a server's prefix cache saves on given prompts
"""

from __future__ import annotations

from ecomfs.retrieve.choose import Choice, choose_similarity
from ecomfs.retrieve.experts import Experts, Opinion
from ecomfs.retrieve.index import DenseIndex, Hits, VectorIndex
from ecomfs.retrieve.index_store import build_index
from ecomfs.retrieve.lexical import LexicalIndex
from ecomfs.retrieve.order import ORDERS, open_order
from ecomfs.retrieve.prefix_cache import PrefixCacheReport, simulate_prefix_cache
from ecomfs.retrieve.retriever import Retriever
from ecomfs.retrieve.sharing import Arrangement, PrefixSharing, Sharing
from ecomfs.retrieve.shortlist import LabelShortlist
from ecomfs.retrieve.strategies import STRATEGIES, SelectionStrategy, open_strategy
from ecomfs.retrieve.tabular import TabularSpace

__all__ = [
    "ORDERS",
    "STRATEGIES",
    "Arrangement",
    "Choice",
    "DenseIndex",
    "Experts",
    "Hits",
    "LabelShortlist",
    "LexicalIndex",
    "Opinion",
    "PrefixCacheReport",
    "PrefixSharing",
    "Retriever",
    "SelectionStrategy",
    "Sharing",
    "TabularSpace",
    "VectorIndex",
    "build_index",
    "choose_similarity",
    "open_order",
    "open_strategy",
    "simulate_prefix_cache",
]
