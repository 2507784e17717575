"""Databases for what the service stores: SQLite file, SQLite memory, PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import postgres
import pytest
import sqlalchemy as sa

from ecomfs.pool import Pool
from ecomfs.types import Example


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
    name = f"service_{uuid4().hex}"
    engine = sa.create_engine(server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return server + name


@pytest.fixture(params=["file", "memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pool]:
    """A pool of two examples, wherever it lives."""
    if request.param == "memory":
        opened = Pool.in_memory()
    elif request.param == "file":
        opened = Pool.open(tmp_path / "pool.db")
    else:
        opened = Pool.open(new_database(request.getfixturevalue("postgres_url")))
    with opened:
        opened.add(
            [Example("a", {"text": "fits"}, "positive"), Example("b", {"text": "torn"}, "negative")]
        )
        yield opened
