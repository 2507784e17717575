"""Runs data sets with label budgets and seeds, stores the results, and makes one report."""

from ecomfs.suites.config import Dataset, Suite, available_suites, load_suite
from ecomfs.suites.report import compare_results, suite_board, write_details
from ecomfs.suites.run import SuiteRun, plan, run_suite
from ecomfs.suites.store import ResultsFolder

__all__ = [
    "Dataset",
    "ResultsFolder",
    "Suite",
    "SuiteRun",
    "available_suites",
    "compare_results",
    "load_suite",
    "plan",
    "run_suite",
    "suite_board",
    "write_details",
]
