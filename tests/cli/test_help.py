"""The help of the commands."""

from __future__ import annotations

import re
from typing import Any

import pytest
from verbs import commands

from ecomfs.cli import run
from ecomfs.retrieve.strategies import STRATEGIES


def test_what_stands_in_brackets_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["score", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "[task's default]" in shown
    assert "column with unique ids [id]" in shown
    assert "p_LABEL" in shown


def test_score_says_how_to_get_guarantees(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Guarantees (--precision, …) are fitted in the same run" in shown
    assert shown.index("─ Guarantees ─") < shown.index("--max-loss")
    assert "for --profile" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("name", "command"), [*commands()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_option_is_explained_and_shown_as_it_is_written(name: str, command: Any) -> None:
    for parameter in command.params:
        shown = getattr(parameter, "help", None)
        if parameter.name != "help" and not str(parameter.metavar or "").startswith(
            ("ID", "LABEL")
        ):
            assert shown, f"{name} {parameter.name}"
        # The markup of the help takes <word> for HTML, and drops it.
        assert not re.search(r"<\w", shown or ""), f"{name} {parameter.name}"


def test_every_strategy_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["score", "--help"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "--strategy" in line]
    assert [name for name in STRATEGIES if name not in line] == []


def test_a_newcomer_sees_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("Begin here") < shown.index(" demo ") < shown.index("Answer rows")
    names = [name for name, _ in commands()]
    assert {"score", "eval run", "prepare augment", "runs resume"} <= set(names)


@pytest.mark.parametrize("verb", ["score", "fit", "ab", "serve", "rank", "plan", "explain"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"ecomfs {verb}" in capsys.readouterr().out


def test_plan_takes_the_options_of_score() -> None:
    taken = {name: {p.name for p in command.params} for name, command in commands()}
    assert taken["score"] - taken["plan"] == {"restart", "keep_journal", "quiet"}
