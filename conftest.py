"""A test, or a doctest, that needs an optional package is skipped where it is not installed."""

from __future__ import annotations

import doctest
from collections.abc import Generator
from importlib.util import find_spec

import pytest

from ecomfs.errors import ConfigError

collect_ignore_glob = ["ecomfs/serve/migrations/*"]  # Alembic runs them, with a database
collect_ignore = [] if find_spec("fastapi") and find_spec("uvicorn") else ["ecomfs/serve"]


def _missing(error: BaseException) -> str:
    """What an error says of a package that is not installed; empty for any other error."""
    if isinstance(error, doctest.UnexpectedException):
        error = error.exc_info[1]
    cause = error.__cause__
    if not isinstance(error, ConfigError) or not isinstance(cause, ImportError):
        return ""
    # A package that is there and lacks a module is a fault of the code.
    package = (cause.name or "").partition(".")[0]
    return str(error) if package and find_spec(package) is None else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    yield from _skipping()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    yield from _skipping()


def _skipping() -> Generator[None, None, None]:
    try:
        yield
    except Exception as error:
        if why := _missing(error):
            pytest.skip(why)
        raise
