"""Suites: several data sets, label budgets and seeds, run once and reported together."""

from ecomfs.evaluation.suites.compare import compare_results
from ecomfs.evaluation.suites.config import Dataset, Suite, available_suites, load_suite
from ecomfs.evaluation.suites.report import suite_board, write_details
from ecomfs.evaluation.suites.run import SuiteRun, plan, run_suite
from ecomfs.evaluation.suites.store import ResultsFolder

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
