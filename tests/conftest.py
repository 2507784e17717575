"""Shared by all tests. (This file being here, tests import ``scripted`` and ``serving``.)"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

# Nothing is tested by timing: a busy machine is not a bug.
settings.register_profile("ecomfs", deadline=None)
settings.load_profile("ecomfs")


@pytest.fixture(autouse=True, scope="session")
def _runs_are_logged_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests leave no trace in the state folder of the user who runs them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ECOMFS_STATE", str(tmp_path_factory.mktemp("state")))
        yield
