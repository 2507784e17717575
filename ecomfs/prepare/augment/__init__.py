"""More examples of rare labels without training: rewrites, and examples borrowed elsewhere.

need.py       which labels are rare, and how many examples they lack
judge.py      what a candidate must pass: text checks, then the classifier's reading
rewrite.py    a language model writes an example anew
borrow.py     labelled examples of a related task, or of the other language
result.py     kept and rejected candidates, and the report

Every candidate ends as kept or as rejected with a reason. What is kept is marked synthetic, with
the example it came from, so that it can be left out and is never tested on.
"""

from ecomfs.prepare.augment.borrow import borrow, map_fields, map_labels
from ecomfs.prepare.augment.candidates import Augmented, Candidate, Need, rare_labels
from ecomfs.prepare.augment.judge import Judge, Policy
from ecomfs.prepare.augment.rewrite import RewriteSettings, load_prompts, rewrite, text_field

__all__ = [
    "Augmented",
    "Candidate",
    "Judge",
    "Need",
    "Policy",
    "RewriteSettings",
    "borrow",
    "load_prompts",
    "map_fields",
    "map_labels",
    "rare_labels",
    "rewrite",
    "text_field",
]
