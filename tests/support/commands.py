"""Every command of the command line, by introspection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from ecomfs.cli import app


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    return nested(typer.main.get_command(app))


def nested(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield " ".join(names), command
    for name, each in (inner or {}).items():
        yield from nested(each, *names, name)
