"""The help of the commands."""

from __future__ import annotations

import pytest

from ecomfs.cli import run


def test_what_stands_in_brackets_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["score", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "[task's default]" in shown
    assert "column with unique ids [id]" in shown


@pytest.mark.parametrize("verb", ["score", "fit", "ab", "serve", "rank", "plan", "explain"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"ecomfs {verb}" in capsys.readouterr().out
