"""Compares variants of a classifier on the same rows, or on split live traffic."""

from ecomfs.ab.from_log import compare_log
from ecomfs.ab.outcome import METRICS, Outcome, check_page, check_targets, write_pages
from ecomfs.ab.rows import ComparedRows, read_gold, read_test_rows
from ecomfs.ab.run import Design, compare, run
from ecomfs.ab.variant import Variant, check_variants, fit_variants, read_variants

__all__ = [
    "METRICS",
    "ComparedRows",
    "Design",
    "Outcome",
    "Variant",
    "check_page",
    "check_targets",
    "check_variants",
    "compare",
    "compare_log",
    "fit_variants",
    "read_gold",
    "read_test_rows",
    "read_variants",
    "run",
    "write_pages",
]
