"""More examples of rare labels without training: rewrites, and examples borrowed from other tables.

Every candidate is kept, or rejected with a reason. Kept examples are marked synthetic, with the id
of their source, so that they can be left out and are never used as test rows.
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
