"""The table of encodings, on a few sentences per encoding."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "eval" / "bench" / "encodings.py"


def test_no_table_of_any_encoding_is_read_wrongly() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rows", "20"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=250,
    )
    told = done.stdout.splitlines()[-1]
    found = re.fullmatch(
        r"(\d+) tables: (\d+) right, (\d+) refused, (\d+) wrong, noted, (\d+) wrong, silent", told
    )
    assert found is not None, told
    tables, right, refused, noted, silent = map(int, found.groups())
    assert (noted, silent) == (0, 0)
    assert tables == right + refused > 300
    assert right > 0.9 * tables
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {cells[3].strip() for cells in rows[1:]} == {"100% right"}
