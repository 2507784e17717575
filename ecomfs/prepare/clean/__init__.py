"""Clean texts and labelled examples; everything that is changed or removed is reported."""

from ecomfs.prepare.clean.cleaner import clean
from ecomfs.prepare.clean.ledger import CleanResult
from ecomfs.prepare.clean.mend import mend
from ecomfs.prepare.clean.mojibake import mend_mojibake
from ecomfs.prepare.clean.policy import CleanPolicy, Fate
from ecomfs.prepare.clean.report import MEANINGS, CleanReport, Finding

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
