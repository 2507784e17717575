"""Commands that one command runs, and writes down as a shell script."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import typer

from ecomfs.cli.terminal import say


class Commands:
    """Commands that are run in this process, and written down.

    Args:
        quiet, as_json: of the command that runs them.

    Attributes:
        done: the words of each.
        results: with ``as_json``, what each gave.
    """

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.done: list[list[str]] = []
        self.results: list[Any] = []
        self._more = [*(["--quiet"] if quiet else []), *(["--json"] if as_json else [])]
        self._as_json = as_json

    def do(self, words: list[str]) -> None:
        """Run one command line.

        Raises:
            typer.Exit: it failed; its error is on standard error.
        """
        from ecomfs.cli import run

        say(f"\n$ {shlex.join(['ecomfs', *words])}", flush=True)
        if not self._as_json:
            code = run([*words, *self._more])
        else:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                code = run([*words, *self._more])
            self.results.append(json.loads(printed.getvalue())["result"])
        if code:
            raise typer.Exit(code)
        self.done.append(words)

    def write(self, path: Path, own: list[str]) -> None:
        """Write them as a shell script, below the command that made the tables."""
        from ecomfs.io import write_text

        head = [
            "#!/bin/sh",
            "# The commands of ecomfs init, to be run in the folder in which it ran. This one made",
            "# the tables (it overwrites nothing, so name another folder to run it again):",
            f"# {shlex.join(['ecomfs', *own])}",
            "set -e",
        ]
        lines = [shlex.join(["ecomfs", *words]) for words in self.done]
        write_text(path, "\n".join([*head, *lines, ""]))
