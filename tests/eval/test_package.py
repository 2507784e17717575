"""The harness is independent of ecomfs and fast to import."""

from __future__ import annotations

import subprocess
import sys

import ecomfs_eval


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ("scipy", "pandas", "sklearn", "statsmodels", "jinja2", "matplotlib", "ecomfs")
    code = f"import sys, ecomfs_eval; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_exported_name_is_there() -> None:
    assert len(set(ecomfs_eval.__all__)) == len(ecomfs_eval.__all__)
    assert all(hasattr(ecomfs_eval, name) for name in ecomfs_eval.__all__)
