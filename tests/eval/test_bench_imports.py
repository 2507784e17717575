"""Every script of eval/bench can be imported."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "eval" / "bench"
SCRIPTS = sorted(path.stem for path in BENCH.glob("*.py") if not path.stem.startswith("fuzz"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_what_it_imports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] in {"ecomfs", "ecomfs_eval", *SCRIPTS}:
            raise
        pytest.skip(f"needs {missing}")
    finally:
        for loaded in set(sys.modules) - before:
            if loaded in SCRIPTS:
                del sys.modules[loaded]
