"""No test can hang the suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "support"
# A lock that is taken twice waits for ever, and PyDLL keeps Python's lock meanwhile.
HANGS = """
import ctypes
import os

def hold_the_lock_for_ever():
    c = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(128)
    c.pthread_mutex_lock(mutex)
    c.pthread_mutex_lock(mutex)
"""
CONFTEST = """
import faulthandler
from watchdog import Watchdog

def pytest_configure(config):
    global WATCHDOG
    WATCHDOG = Watchdog(margin={margin}, overall={overall})
    config.pluginmanager.register(WATCHDOG)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="a lock of glibc's")


def run(
    folder: Path, tests: str, *options: str, margin: float = 1, overall: float = 90
) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST.format(margin=margin, overall=overall))
    (folder / "test_it.py").write_text(HANGS + tests)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={"PYTHONPATH": str(HERE), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )


@linux
def test_a_hang_that_holds_pythons_lock_is_ended_with_the_stacks(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_hangs():\n    hold_the_lock_for_ever()\n", "--timeout=1")
    assert done.returncode not in (0, None)
    assert "Timeout" in done.stderr
    assert "in hold_the_lock_for_ever" in done.stderr
    assert "in test_hangs" in done.stderr


@linux
def test_a_hang_outside_of_all_tests_is_ended_too(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import atexit, conftest, time

def test_passes():
    conftest.WATCHDOG.ends(time.monotonic() + 8)
    atexit.register(hold_the_lock_for_ever)
""",
    )
    assert done.returncode not in (0, None)
    assert "in hold_the_lock_for_ever" in done.stderr
    assert "in test_passes" not in done.stderr


def test_a_test_that_can_be_ended_by_itself_is_and_the_others_go_on(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import time\ndef test_sleeps():\n    time.sleep(60)\ndef test_passes():\n    pass\n",
        "--timeout=1",
        margin=80,
    )
    assert "1 failed, 1 passed" in done.stdout


def test_every_test_has_its_own_limit(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import pytest, threading
@pytest.mark.timeout(80)
def test_longer_than_the_others():
    threading.Event().wait(3)
""",
        "--timeout=1",
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_of_the_suite_can_end() -> None:
    script = """
import os, sys
from watchdog import Watchdog
Watchdog(overall=60)
child = os.fork()
if child == 0:
    sys.exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(HERE)}, timeout=120
    )
    assert done.returncode == 7
