"""A pool database of each supported kind: SQLite file, SQLite memory, PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import new_database

from ecomfs.pool import Pool

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(params=["sqlite", POSTGRES])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database on disk, that several connections and processes can open."""
    if request.param == "postgres":
        return new_database(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'pool.db'}"


@pytest.fixture(params=["file", "memory", POSTGRES])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pool]:
    """A new pool, wherever it lives."""
    if request.param == "memory":
        opened = Pool.in_memory()
    elif request.param == "file":
        opened = Pool.open(tmp_path / "pool.db")
    else:
        opened = Pool.open(new_database(request.getfixturevalue("postgres_url")))
    with opened:
        yield opened
