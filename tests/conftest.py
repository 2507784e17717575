"""Fixtures of all tests. With this file here, tests can import ``scripted`` and ``serving``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import postgres
import pytest
from fault_counts import FaultCounts, Faults
from hypothesis import settings
from watchdog import Watchdog

# Nothing is tested by timing: a busy machine is not a bug.
settings.register_profile("ecomfs", deadline=None)
# For a gate: the same examples every time, so that it judges the change and not the dice.
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ecomfs"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watchdog(), "watchdog")
    config.pluginmanager.register(FaultCounts(), "fault-counts")


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """Counts what faults cost (``make test-faults``)."""
    counts = request.config.pluginmanager.get_plugin("fault-counts")
    assert isinstance(counts, FaultCounts)
    return Faults(counts, request.node.name)


@pytest.fixture(autouse=True, scope="session")
def _runs_are_logged_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests leave no trace in the state folder of the user who runs them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ECOMFS_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this run; :func:`postgres.new_database` makes databases on it."""
    binaries = postgres.programs()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.server(binaries) as url:
        yield url
