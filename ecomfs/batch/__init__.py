"""Batch scoring of tables."""

from ecomfs.batch.examples import read_examples, sample_examples
from ecomfs.batch.score import Gold, ScoreResult, Tally, score_table

__all__ = ["Gold", "ScoreResult", "Tally", "read_examples", "sample_examples", "score_table"]
