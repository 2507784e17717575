"""Stores labelled examples in SQL and keeps every version."""

from ecomfs.pool.database import Database
from ecomfs.pool.records import Change, shown_ids
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
    "random_examples",
    "real_examples",
    "refuse_synthetic",
    "sample_examples",
    "sample_queries",
    "shown_ids",
    "split_examples",
]
