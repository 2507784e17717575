"""``ecomfs explain``: one row, as text or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted import ScriptedEngine, examples

from ecomfs.cli import run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecomfs.classifier.shared_engine", lambda spec: ScriptedEngine())
    rows = [f"{i},{t},{y}" for i, (t, y) in enumerate(zip(*examples(), strict=True))]
    Path("pool.csv").write_text("\n".join(["id,text,label", *rows, ""]), encoding="utf-8")
    return tmp_path


def explain(row: str, *arguments: str) -> int:
    base = ["explain", row, "-t", "review_sentiment", "-e", "pool.csv", "--embedder", "hashed"]
    return run([*base, "--language", "en", "--k", "4", *arguments])


def test_every_step_and_the_prompt_are_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("it broke", "--influence") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[1].split() == ["read", "calibrated", "experts", "fused"]
    assert said.count("without it: ") == 4
    assert said.rstrip().endswith("Review: it broke\nSentiment:")


def test_json_of_the_same_row_as_fields(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("it broke", "--json") == 0
    text = json.loads(capsys.readouterr().out)
    assert explain('{"text": "it broke"}', "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields == text
    assert set(text["stages"]["fused"]) == {"positive", "negative"}
    assert text["influence"] is None


@pytest.mark.parametrize(
    ("row", "task", "message"),
    [
        ('{"txt": "it broke"}', "review_sentiment", "no column 'text' (did you mean 'txt'?"),
        ("a green teapot", "query_relevance", """write a JSON object: '{"query": "…", …}'"""),
    ],
)
def test_a_row_that_does_not_fit_the_task_does_not_wait_for_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str], row: str, task: str, message: str
) -> None:
    assert run(["explain", row, "-t", task, "--engine", "gguf:nowhere.gguf"]) == 2
    assert message in capsys.readouterr().err


def test_a_broken_object_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain('{"text": ') == 2
    assert "the row is no JSON object" in capsys.readouterr().err
