"""Labelled examples in SQL, with every version kept."""

from ecomfs.pool.database import Database
from ecomfs.pool.records import Change, few
from ecomfs.pool.sample import (
    random_examples,
    real_examples,
    refuse_synthetic,
    sample_examples,
    sample_queries,
    split_examples,
)
from ecomfs.pool.store import Pool

__all__ = [
    "Change",
    "Database",
    "Pool",
    "few",
    "random_examples",
    "real_examples",
    "refuse_synthetic",
    "sample_examples",
    "sample_queries",
    "split_examples",
]
