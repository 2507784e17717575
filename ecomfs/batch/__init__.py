"""Batch scoring of tables."""

from ecomfs.batch.examples import read_examples, read_labelled_so_far, read_several
from ecomfs.batch.merge import Answers, Gold
from ecomfs.batch.output import find_columns
from ecomfs.batch.score import ScoreResult, score_table
from ecomfs.batch.select import Selection, Where
from ecomfs.batch.tally import Tally
from ecomfs.pool.sample import sample_examples

__all__ = [
    "Answers",
    "Gold",
    "ScoreResult",
    "Selection",
    "Tally",
    "Where",
    "find_columns",
    "read_examples",
    "read_labelled_so_far",
    "read_several",
    "sample_examples",
    "score_table",
]
