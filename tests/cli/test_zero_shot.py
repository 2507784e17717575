"""``ecomfs score`` without labelled examples: it uses the definitions, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import ScriptedEngine

from ecomfs.cli import run
from ecomfs.io import read_frame


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: ScriptedEngine())
    Path("in.csv").write_text("id,text,label\n1,good,positive\n2,poor,negative\n", "utf-8")
    Path("pool.csv").write_text("id,text,label\n1,fine,positive\n2,bad,negative\n", "utf-8")
    return tmp_path


def score(*arguments: str, task: str = "review_sentiment") -> int:
    return run(["score", "in.csv", "-t", task, "-q", "--embedder", "hashed", *arguments])


def test_rows_are_answered_and_the_summary_says_how(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("--gold-column", "label") == 0
    said = capsys.readouterr()
    assert "zero-shot: no labelled examples" in said.err
    assert "k = 8" not in said.err  # nothing could stand in a prompt
    assert "zero-shot: no labelled examples" in said.out
    table = read_frame("in.scored.csv").data
    assert table["status"].to_list() == ["ok", "ok"]
    assert table["demonstration_ids"].to_list() == ["", ""]
    assert set(table["predicted"]) <= {"positive", "negative"}


def test_with_examples_it_does_not_say_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("-e", "pool.csv") == 0
    said = capsys.readouterr().err
    assert "2 labelled examples · k = 8" in said
    assert "zero-shot" not in said


@pytest.mark.parametrize(
    ("arguments", "task", "message"),
    [
        ([], "product_category", "takes its labels from them"),
        (["--shots", "4"], "review_sentiment", "--shots 4 without --examples"),
    ],
)
def test_without_examples_some_options_and_tasks_are_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    task: str,
    message: str,
) -> None:
    field = ["--field", "title=text"] if task == "product_category" else []
    assert score(*arguments, *field, task=task) == 2
    assert message in capsys.readouterr().err
    assert not Path("in.scored.csv").exists()
