"""Questions to the person at a terminal; without one, errors that name the options."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer

from ecomfs.errors import ConfigError


def on_terminal() -> bool:
    """Whether a person can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True, slots=True)
class Questions:
    """What a table leaves open, asked on a terminal, and elsewhere an error.

    Attributes:
        asking: whether a person answers.
    """

    asking: bool

    def choose(self, question: str, choices: Mapping[str, str], options: Sequence[str]) -> str:
        """One of several choices.

        Args:
            choices: value → evidence for it.
            options: of the command line, that would have answered.

        Raises:
            ConfigError: nobody is asked.
        """
        if not self.asking:
            shown = "; ".join(f"{value} ({text})" for value, text in choices.items())
            raise ConfigError(f"{question} {shown}", hint=f"say it: {', '.join(options)}")
        values = [*choices]
        width = max(map(len, values))
        typer.echo(question, err=True)
        for number, (value, text) in enumerate(choices.items(), 1):
            typer.echo(f"  {number}  {value:{width}}  {text}", err=True)
        while True:
            given: int = typer.prompt("number", default=1, type=int, err=True)
            if 1 <= given <= len(values):
                return values[given - 1]
            typer.echo(f"a number from 1 to {len(values)}", err=True)

    def agree(self, question: str) -> bool:
        """Whether to go on; yes where nobody is asked."""
        return not self.asking or typer.confirm(question, default=True, err=True)

    def confirm(self, question: str) -> None:
        """End the command where a person says no."""
        if not self.agree(question):
            raise typer.Exit(0)
