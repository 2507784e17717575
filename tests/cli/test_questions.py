"""Questions on a terminal."""

from __future__ import annotations

import pytest
import typer

from ecomfs.cli.init import Questions
from ecomfs.errors import ConfigError

CHOICES = {"label": "3 values", "stars": "5 values"}
OPTIONS = ["--label-column label", "--label-column stars"]


def test_without_a_terminal_the_error_names_the_options() -> None:
    ask = Questions(asking=False)
    with pytest.raises(ConfigError, match=r"which column\? label \(3 values\); stars") as caught:
        ask.choose("which column?", CHOICES, OPTIONS)
    assert caught.value.hint == "give the option: --label-column label, --label-column stars"
    assert ask.agree("go on?")
    ask.confirm("write?")


def test_a_number_is_asked_until_it_is_one_of_the_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([0, 3, 2])
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: next(answers))
    assert Questions(asking=True).choose("which column?", CHOICES, OPTIONS) == "stars"
    shown = capsys.readouterr().err
    assert "  2  stars  5 values" in shown
    assert shown.count("a number from 1 to 2") == 2


def test_no_ends_the_command_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    with pytest.raises(typer.Exit) as caught:
        Questions(asking=True).confirm("write them?")
    assert caught.value.exit_code == 0
