"""A/B evaluation: variants of a classifier on the same rows, or on the arms of a live service.

variant.py      what is compared, as a user writes it
options.py      which options a variant may have
contenders.py   variants, fitted
rows.py         the labelled rows and their slices
answers.py      asking all variants in turns
watch.py        a running test that may stop early
run.py          from contenders to an outcome
arms.py         the log of a traffic split and gold labels that came later
outcome.py      what was found, and writing it
"""

from ecomfs.compare.contenders import Contender, check_variants, fit_variants
from ecomfs.compare.outcome import Outcome
from ecomfs.compare.rows import TestRows, read_test_rows
from ecomfs.compare.run import Design, run
from ecomfs.compare.variant import Variant, read_variants

__all__ = [
    "Contender",
    "Design",
    "Outcome",
    "TestRows",
    "Variant",
    "check_variants",
    "fit_variants",
    "read_test_rows",
    "read_variants",
    "run",
]
