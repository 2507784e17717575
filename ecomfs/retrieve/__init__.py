"""Finds the k most similar labelled examples of a row, selected and ordered for its prompt."""

from ecomfs.retrieve.build import build_index
from ecomfs.retrieve.choose import DEFAULT_WEIGHT, ChosenSimilarity, choose_similarity
from ecomfs.retrieve.index import DenseIndex, Hits, kernel_vote
from ecomfs.retrieve.layout import DemonstrationLayout, Layout, RowDemonstrations
from ecomfs.retrieve.prefix_cache import simulate_prefix_cache
from ecomfs.retrieve.retriever import Queries, Retriever
from ecomfs.retrieve.tabular import TabularSpace

__all__ = [
    "DEFAULT_WEIGHT",
    "ChosenSimilarity",
    "DemonstrationLayout",
    "DenseIndex",
    "Hits",
    "Layout",
    "Queries",
    "Retriever",
    "RowDemonstrations",
    "TabularSpace",
    "build_index",
    "choose_similarity",
    "kernel_vote",
    "simulate_prefix_cache",
]
