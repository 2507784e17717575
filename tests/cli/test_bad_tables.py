"""Tables with invalid numbers, categories and histories: each row has a status or the command one
clear error, and no row is lost.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scripted import ScriptedEngine

from ecomfs.cli import run
from ecomfs.io import read_frame

VISITS = [f"{i},{i * 3},{'Nov' if i % 2 else 'May'},{i % 2}" for i in range(12)]
HEADER = "id,ProductRelated,Month,label"
PROMPTS = Path(__file__).parents[2] / "prompts"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: ScriptedEngine())
    write("pool.csv", HEADER, *VISITS)
    return tmp_path


def write(name: str, *lines: str) -> None:
    Path(name).write_text("\n".join([*lines, ""]), encoding="utf-8")


def score(*arguments: str, task: str = "purchase_intent") -> int:
    base = ["score", "in.csv", "-t", task, "-e", "pool.csv", "--embedder", "hashed", "-q"]
    return run([*base, "--calibration-size", "0", "--k", "2", *arguments])


def scored() -> list[dict[str, str]]:
    return read_frame("in.scored.csv").data.to_dict("records")


def test_cells_of_a_visit(capsys: pytest.CaptureFixture[str]) -> None:
    write(
        "in.csv",
        HEADER,
        "a,many,Nov,1",  # a word in a column of numbers
        "b,,Nov,1",  # missing
        "c,n/a,,0",  # all missing
        "d,5,Brumaire,0",  # a category the pool never had
        "e,1e999,Nov,1",  # infinite
        'f,"1,200,000",Nov,0',  # thousands separators
        "g,7,May,perhaps",  # a true label that is none
        "h,7,May,",  # no true label
        "h,8,May,0",  # an id that comes twice
    )
    assert score("--gold-column", "label") == 0
    rows = scored()
    assert [r["id"] for r in rows] == ["a", "b", "c", "d", "e", "f", "g", "h", "h"]
    said = {r["id"]: (r["status"], r["error"]) for r in rows}
    assert said["a"][0] == "failed"
    assert "'many' is not a number" in said["a"][1]
    assert said["b"] == ("ok", "")
    assert said["c"][0] == "failed"
    assert "no field has a value" in said["c"][1]
    assert said["d"] == ("ok", "")
    assert said["e"][0] == "failed"
    assert "is not a finite number" in said["e"][1]
    assert said["f"] == ("ok", "")
    assert "occurs more than once" in rows[-1]["note"]
    assert "n = 8 rows with a true label" in capsys.readouterr().out


def test_a_column_with_two_readings_stops_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: pytest.fail("loaded"))
    write("in.csv", HEADER, 'f,"1,200",Nov,0', "g,7,May,1")
    assert score() == 2
    assert "in.csv: column 'ProductRelated': '1,200' may be 1200 or 1.2" in capsys.readouterr().err
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: ScriptedEngine())
    assert score("--field", "product_pages=ProductRelated:point") == 0
    assert [row["status"] for row in scored()] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,many,Nov,1", "'many' is not a number"),
        ("x,,,1", "no field has a value"),
        ("x,1,Nov,maybe", "pool.csv, line 14: unknown label 'maybe'"),
        ("x,1,Nov,", "pool.csv, line 14: column 'label' is empty"),
        ("3,1,Nov,0", "pool.csv, line 14: id '3' is already used on line 5"),
        ("x,1,Nov", "pool.csv, line 14: 3 cells where the header has 4"),
    ],
)
def test_a_bad_example_stops_and_is_named(
    capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    write("pool.csv", HEADER, *VISITS, line)
    write("in.csv", HEADER, *VISITS[:2])
    assert score() == 2
    error = capsys.readouterr().err
    assert message in error
    assert "'x'" in error or "line 14" in error
    assert not Path("in.scored.csv").exists()


def test_labels_and_headers_that_differ_in_case_and_space(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [v[:-1] + (" BUY " if v.endswith("1") else "Leave") for v in VISITS]
    write("pool.csv", "ID, productrelated ,MONTH, Label ", *lines)
    write("in.csv", "id,ProductRelated,Month,truth", *(f"{v[:-1]}buy" for v in VISITS[:3]))
    assert score("--gold-column", "truth") == 0
    assert {r["predicted"] for r in scored()} <= {"BUY", "Leave"}
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--label-column", "--id-column", "--gold-column"])
def test_a_named_column_of_another_case_is_suggested(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    write("in.csv", HEADER, *VISITS[:2])
    assert score(option, "LABEL") == 2
    assert "did you mean 'label'?" in capsys.readouterr().err


def test_histories_that_are_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    write("pool.csv", "id,history,item,label", '1,"[""a""]",b,like', '2,"[""a""]",c,dislike')
    write(
        "in.csv",
        "id,history,item",
        "1,a then b,c",
        '2,"{""title"": ""a""}",c',
        '3,"[{""title"": ""a"", ""rating"": ""five""}]",c',
        '4,"[""a"", ""b"]",c',
        '5,"[""a""]",',
        "6,,c",
    )
    assert score(task="product_preference") == 0
    said = {r["id"]: (r["status"], r["error"]) for r in scored()}
    assert len(scored()) == 6
    assert "is not JSON" in said["1"][1]
    assert "is not a list" in said["2"][1]
    assert "'five' is not a number" in said["3"][1]
    assert said["5"] == ("failed", "field 'item' is empty")
    assert said["6"] == ("ok", "")  # a new user
    assert [status for status, _ in said.values()].count("failed") == 5
    write("pool.csv", "id,history,item,label", "1,a,b,like", '2,"[""a""]",c,dislike')
    assert score(task="product_preference") == 2
    assert "example '1': column 'history': 'a' is not JSON" in capsys.readouterr().err


def test_a_card_with_two_labels_of_one_alias(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(PROMPTS / "purchase_intent", "mine")
    card = Path("mine/task.yaml")
    card.write_text(card.read_text("utf-8").replace('aliases: ["0",', 'aliases: ["0", Bought,'))
    write("in.csv", HEADER, *VISITS[:2])
    assert score(task="mine") == 2
    error = capsys.readouterr().err
    assert "labels 'buy' and 'leave' share the spelling 'Bought'" in error
    assert "mine/task.yaml" in error
    assert run(["lint-task", "mine"]) == 1
    assert "share" in capsys.readouterr().out
