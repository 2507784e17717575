"""Batch scoring of tables."""

from ecomfs.batch.examples import read_examples
from ecomfs.batch.score import Gold, ScoreResult, Tally, find_columns, score_table
from ecomfs.pool.sample import sample_examples

__all__ = [
    "Gold",
    "ScoreResult",
    "Tally",
    "find_columns",
    "read_examples",
    "sample_examples",
    "score_table",
]
