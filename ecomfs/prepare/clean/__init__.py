"""Clean texts and labelled examples; every change and every removal is reported."""

from ecomfs.prepare.clean.cleaner import clean
from ecomfs.prepare.clean.report import CleanPolicy, CleanResult
from ecomfs.prepare.clean.text import clean_text, fix_mojibake

__all__ = [
    "CleanPolicy",
    "CleanResult",
    "clean",
    "clean_text",
    "fix_mojibake",
]
