"""Clean texts and labelled examples; every change and every removal is reported."""

from ecomfs.prepare.clean.cleaner import clean
from ecomfs.prepare.clean.report import CleanPolicy, CleanReport, CleanResult, Finding
from ecomfs.prepare.clean.text import clean_text, fix_mojibake

__all__ = [
    "CleanPolicy",
    "CleanReport",
    "CleanResult",
    "Finding",
    "clean",
    "clean_text",
    "fix_mojibake",
]
