"""Variants of a classifier on the same rows, or on split live traffic, to a decision."""

from ecomfs.ab.arms import compare_log, read_gold
from ecomfs.ab.contenders import Contender, check_variants, fit_variants
from ecomfs.ab.on_rows import compare
from ecomfs.ab.outcome import METRICS, Outcome, check_page, check_targets, write_json, write_pages
from ecomfs.ab.rows import TestRows, read_test_rows
from ecomfs.ab.run import Design, run
from ecomfs.ab.traffic_log import Entry, Start, TrafficLog, TrafficRecord, now, read_log
from ecomfs.ab.traffic_split import Split
from ecomfs.ab.variant import Variant, read_variants

__all__ = [
    "METRICS",
    "Contender",
    "Design",
    "Entry",
    "Outcome",
    "Split",
    "Start",
    "TestRows",
    "TrafficLog",
    "TrafficRecord",
    "Variant",
    "check_page",
    "check_targets",
    "check_variants",
    "compare",
    "compare_log",
    "fit_variants",
    "now",
    "read_gold",
    "read_log",
    "read_test_rows",
    "read_variants",
    "run",
    "write_json",
    "write_pages",
]
