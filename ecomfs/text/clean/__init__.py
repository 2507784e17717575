"""Clean texts and labelled examples; everything that is changed or removed is reported."""

from ecomfs.text.clean.cleaner import clean
from ecomfs.text.clean.ledger import CleanResult
from ecomfs.text.clean.mend import mend
from ecomfs.text.clean.mojibake import mend_mojibake
from ecomfs.text.clean.policy import CleanPolicy, Fate
from ecomfs.text.clean.report import MEANINGS, CleanReport, Finding

__all__ = [
    "MEANINGS",
    "CleanPolicy",
    "CleanReport",
    "CleanResult",
    "Fate",
    "Finding",
    "clean",
    "mend",
    "mend_mojibake",
]
