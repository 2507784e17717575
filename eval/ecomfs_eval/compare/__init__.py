"""Compare two or more systems: tests, paired intervals, changed rows and a decision."""

from __future__ import annotations

from ecomfs_eval.compare.comparison import (
    Comparisons,
    PairwiseComparison,
    compare,
    compare_many,
)
from ecomfs_eval.compare.decision import decide
from ecomfs_eval.compare.differences import Difference, differences
from ecomfs_eval.compare.paired import Flip, complete, exact_p, flips, holm, mcnemar, pair
from ecomfs_eval.compare.plan import (
    PowerPlan,
    minimum_detectable_effect,
    plan,
    rows_needed,
)
from ecomfs_eval.compare.slices import by_length
from ecomfs_eval.compare.unpaired import compare_arms, newcombe, two_proportions_p

__all__ = [
    "Comparisons",
    "Difference",
    "Flip",
    "PairwiseComparison",
    "PowerPlan",
    "by_length",
    "compare",
    "compare_arms",
    "compare_many",
    "complete",
    "decide",
    "differences",
    "exact_p",
    "flips",
    "holm",
    "mcnemar",
    "minimum_detectable_effect",
    "newcombe",
    "pair",
    "plan",
    "rows_needed",
    "two_proportions_p",
]
