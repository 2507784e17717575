"""A pool database of each supported kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecomfs.pool.store import Pool


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'pool.db'}"


@pytest.fixture(params=["file", "memory"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    if request.param == "memory":
        opened = Pool.in_memory()
    else:
        opened = Pool.open(request.getfixturevalue("database_url"))
    with opened:
        yield opened
