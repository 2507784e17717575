"""A pool database of each supported kind: SQLite file, SQLite memory, PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import postgres
import pytest
import sqlalchemy as sa

from ecomfs.pool import Pool

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    binaries = postgres.programs()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.server(binaries) as url:
        yield url


def new_database(server: str) -> str:
    name = f"pool_{uuid4().hex}"
    engine = sa.create_engine(server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return server + name


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
