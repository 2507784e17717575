"""``ecomfs suggest``: a table to label, which can then be used as a pool."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import ScriptedEngine

from ecomfs.batch import read_examples
from ecomfs.cli import run
from ecomfs.io import read_frame
from ecomfs.task import load_task

POOL = "id,text,label\np1,lovely soft shirt,positive\np2,the parcel arrived broken,negative\n"
WORDS = [
    "lovely soft shirt",
    "so lovely and soft",
    "a soft lovely coat",
    "parcel came broken",
    "broken parcel again",
    "the parcel was broken",
    "battery lasts two days",
    "battery lasts three days",
    "battery is empty at once",
    "colour faded when washed",
    "Colour  FADED when washed!",
    "zip came off",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("pool.csv").write_text(POOL, encoding="utf-8")
    lines = [f'{i},"{text}"' for i, text in enumerate(WORDS)]
    Path("in.csv").write_text("\n".join(["id,review", *lines, "98,", ""]), encoding="utf-8")
    return tmp_path


def suggest(*arguments: str) -> int:
    base = ["suggest", "in.csv", "-t", "review_sentiment", "-o", "todo.csv"]
    return run([*base, "--embedder", "hashed", *arguments])


def test_filled_in_it_is_a_pool(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest("-n", "4", "-e", "pool.csv") == 0
    out = capsys.readouterr().out
    assert "1 rows cannot be labelled and are left out; line 14: field 'text' is empty" in out
    table = read_frame("todo.csv").data
    assert len(table) == 4
    assert table["label"].to_list() == [""] * 4
    assert set(table["predicted"]) == {"positive", "negative"}
    assert all(0 <= float(u) <= 1 for u in table["uncertainty"])
    assert all("stands for" in why for why in table["why"])
    assert "0" not in table["id"].to_list()  # the pool has that text
    assert not {"9", "10"} <= set(table["id"])
    table["label"] = ["positive", "negative"] * 2
    table.to_csv("done.csv", index=False)
    examples = read_examples("done.csv", load_task("review_sentiment"))
    assert [e.id for e in examples] == table["id"].to_list()
    assert [e.fields["text"] for e in examples] == [WORDS[int(i)] for i in table["id"]]


def test_without_a_pool_by_coverage_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest("-n", "3") == 0
    assert "without labelled examples, rows are chosen by coverage only" in capsys.readouterr().out
    table = read_frame("todo.csv").data
    assert len(table) == 3
    assert table["uncertainty"].to_list() == [""] * 3


def test_a_model_may_say_what_is_uncertain(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine(fails_on="Review: zip came off\nSentiment:")
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
    assert suggest("-n", "4", "-e", "pool.csv", "--engine", "scripted") == 0
    assert "scripted, which read 10 rows" in capsys.readouterr().out
    table = read_frame("todo.csv").data
    assert len(table) == 4
    assert sum(engine.calls) > 10
    assert table.loc[table["id"] == "11", "uncertainty"].to_list() == ["1.0000"]


def test_the_same_seed_writes_the_same_table(folder: Path) -> None:
    tables = []
    for _ in range(2):
        assert suggest("-n", "5", "-e", "pool.csv", "--candidates", "8", "--seed", "3") == 0
        tables.append(Path("todo.csv").read_bytes())
    assert tables[0] == tables[1]


def test_more_than_there_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest("-n", "50", "-e", "pool.csv") == 0
    assert "only 10 different rows are" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0"], "-n 0"),
        (["--candidates", "3"], "--candidates 3"),
        (["-e", "nowhere.csv"], "nowhere.csv"),
        (["-t", "review_sentimnet"], "did you mean 'review_sentiment'"),
        (["-o", "in.csv"], "are the same file"),
        (["-o", "no/such/out.csv"], "mkdir -p no/such"),
        (["--id-column", "key"], "no column 'key'"),
        (["--embedder", "magic"], "magic"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = Path("in.csv").read_bytes()
    assert suggest(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert Path("in.csv").read_bytes() == before
    assert not Path("todo.csv").exists()
