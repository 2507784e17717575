"""The fuzz runs: their properties hold for their seeds and some random inputs, without atheris."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "support" / "few_inputs.py"


@pytest.mark.parametrize("name", ["http", "parser", "reader", "templates", "vllm"])
def test_a_fuzz_run_begins_well(name: str) -> None:
    if name == "http":
        pytest.importorskip("fastapi")
    script = ROOT / "eval" / "bench" / f"fuzz_{name}.py"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(script)], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.fullmatch(r"(\d+) inputs\n", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 40
