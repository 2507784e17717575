"""``python -m ecomfs``."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ecomfs", "tasks"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "review_sentiment" in done.stdout
