"""More examples of rare labels without training: rewrites, and examples borrowed elsewhere.

Every candidate is kept, or rejected with a reason. What is kept is marked synthetic, with the
example it came from, so that it can be left out and is never tested on.
"""

from ecomfs.prepare.augment.borrow import borrow, map_fields, map_labels
from ecomfs.prepare.augment.candidates import (
    REASONS,
    Augmented,
    Candidate,
    RareLabel,
    rare_labels,
)
from ecomfs.prepare.augment.checks import CandidateFilter, FilterPolicy
from ecomfs.prepare.augment.rewrite import RewriteSettings, load_prompts, rewrite, text_field

__all__ = [
    "REASONS",
    "Augmented",
    "Candidate",
    "CandidateFilter",
    "FilterPolicy",
    "RareLabel",
    "RewriteSettings",
    "borrow",
    "load_prompts",
    "map_fields",
    "map_labels",
    "rare_labels",
    "rewrite",
    "text_field",
]
