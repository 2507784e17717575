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
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: ScriptedEngine())
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
    text = json.loads(capsys.readouterr().out)["result"]
    assert explain('{"text": "it broke"}', "--json") == 0
    fields = json.loads(capsys.readouterr().out)["result"]
    assert fields == text
    assert set(text["stages"]["fused"]) == {"positive", "negative"}
    assert text["influence"] is None


@pytest.mark.parametrize(
    ("row", "task", "message"),
    [
        ('{"txt": "it broke"}', "review_sentiment", "no column 'text' (did you mean 'txt'?"),
        ("a green teapot", "query_relevance", """'{"query": "…", "product": "…"}', or name a"""),
        ("hello", "purchase_intent", """write a JSON object: '{"pages_viewed": "…", """),
        ("hello", "ad_response", "or name a table and its row: TABLE --row ID"),
        ("pool.csv", "review_sentiment", "pool.csv is a file, not a text (name the row:"),
        ("x" * 5000, "same_product", "is not a plain text: it has left, right ("),
        ("a\0b", "same_product", "is not a plain text"),
        ('{"text":' * 5000, "review_sentiment", "the row is not a JSON object"),
    ],
)
def test_a_row_that_does_not_fit_the_task_does_not_wait_for_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str], row: str, task: str, message: str
) -> None:
    assert run(["explain", row, "-t", task, "--engine", "gguf:nowhere.gguf"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_row_of_a_table_is_found_by_its_id_or_its_number(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.csv").write_text("nr,review\n7,fine\n8,it broke\n", encoding="utf-8")
    Path("pool.csv").write_text(
        Path("pool.csv").read_text(encoding="utf-8").replace("id,text", "id,review"),
        encoding="utf-8",
    )
    where = ["--json", "--field", "text=review"]
    prompts = []
    for more in (["--row", "2"], ["--row", "8", "--id-column", "nr"]):
        assert explain("in.csv", *more, *where) == 0
        prompts.append(json.loads(capsys.readouterr().out)["result"]["prompt"])
    assert prompts[0] == prompts[1]
    assert prompts[0].endswith("Review: it broke\nSentiment:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.csv", "--row", "9"], "in.csv: no row '9' (its ids are in column 'id')"),
        (["in.csv", "--row", "1"], "in.csv: id '1' is on lines 2 and 3"),
        (["in.csv", "--row", "2", "--id-column", "key"], "in.csv: no column 'key'"),
        (["none.csv", "--row", "2"], "none.csv"),
        (["numbers.csv", "--row", "0"], "no row '0' (it has no ids: give a number)"),
        (["in.csv", "--row", "3"], "in.csv, line 5: 1 cell where the header has 2"),
        (["some text", "--id-column", "id"], "--id-column without --row"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_row_that_is_not_in_the_table_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("in.csv").write_text("id,text\n1,fine\n1,poor\n2,bad\n3\n", encoding="utf-8")
    Path("numbers.csv").write_text("text,stars\nfine,3\n", encoding="utf-8")
    assert explain(*arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_broken_object_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain('{"text": ') == 2
    assert "the row is not a JSON object" in capsys.readouterr().err
