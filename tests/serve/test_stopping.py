"""SIGTERM: requests in flight may finish, and the process ends in any case."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "busy_service.py"


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")

KINDS = [
    # The engine never answers: after the time to finish, requests are cut.
    ("held", {-signal.SIGTERM}),
    # A thread that cannot be stopped does not keep the process from ending.
    ("stuck", {-signal.SIGTERM, 128 + signal.SIGTERM}),
]


def stop(kind: str, *seconds: str) -> tuple[int, float, str]:
    """Status of a busy service, seconds after the signal, and its log."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), kind, *seconds],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, told = process.communicate(timeout=250)
    finally:
        process.kill()
    return process.returncode, time.monotonic() - started, told.decode()


@pytest.mark.parametrize(("kind", "statuses"), KINDS)
def test_sigterm_under_load_ends_the_process(kind: str, statuses: set[int]) -> None:
    status, _, told = stop(kind, "1", "4")
    assert status in statuses, told
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "statuses"), KINDS)
def test_sigterm_under_load_ends_within_thirty_seconds(kind: str, statuses: set[int]) -> None:
    status, seconds, told = stop(kind)
    assert status in statuses, told
    assert seconds <= 30
