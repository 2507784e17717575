"""Packages that only some work on texts needs, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ecomfs.errors import ConfigError


def optional_module(name: str, *, need: str, extra: str) -> Any:
    """Import a module of one of the package's extras.

    Raises:
        ConfigError: it is not installed; the message says what needed it.

    >>> optional_module("no_such_package", need="reading ducks", extra="formats")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: reading ducks needs no_such_package
    (pip install 'ecomfs[formats]')
    """
    try:
        return import_module(name)
    except ImportError as problem:
        package = name.partition(".")[0]
        hint = f"pip install 'ecomfs[{extra}]'"
        raise ConfigError(f"{need} needs {package}", hint=hint) from problem
