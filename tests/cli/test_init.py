"""``ecomfs init``: from a table to first results, with questions where the table is ambiguous."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pools import reviews
from scripted import ScriptedEngine

from ecomfs.cli import run
from ecomfs.engine.shared import shared_engine

REVIEWS = [[e.id, e.fields["text"], e.label] for e in reviews(40)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ECOMFS_ENGINE", "none")
    monkeypatch.setenv("ECOMFS_EMBEDDER", "hashed")


def write(name: str, header: str, rows: Sequence[Sequence[Any]]) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def read(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("ecomfs.cli.init.on_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))


def test_a_table_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    write("shop.csv", "id,text,label", REVIEWS)
    assert run(["init", "shop.csv"]) == 0
    shown = capsys.readouterr()
    assert "label: column 'label', 2 labels: negative 20, positive 20" in shown.out
    assert "task: review_sentiment (text = text; it knows 100% of the labels)" in shown.out
    assert "26 labelled examples, 14 rows to test on" in shown.out
    assert "without LLM" in shown.out
    assert "no model, experts alone" in shown.err
    pool, test = read("shop/pool.csv"), read("shop/test.csv")
    assert (len(pool), len(test)) == (26, 14)
    assert not {row["text"] for row in pool} & {row["text"] for row in test}
    assert len(read("shop/experts.csv")) == 14


def test_the_commands_are_those_that_ran(capsys: pytest.CaptureFixture[str]) -> None:
    write("shop.csv", "id,text,label", REVIEWS)
    assert run(["init", "shop.csv", "--seed", "3"]) == 0
    script = Path("shop/commands.sh").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if line.startswith("ecomfs ")]
    assert f"$ {lines[0]}\n" in capsys.readouterr().out
    before = Path("shop/experts.csv").read_bytes()
    for line in lines:
        assert run(shlex.split(line)[1:]) == 0
    assert Path("shop/experts.csv").read_bytes() == before
    [own] = [line for line in script.splitlines() if line.startswith("# ecomfs init ")]
    words = shlex.split(own)[2:]
    assert run([*words[:-1], "again"]) == 0  # the same draw, in another folder
    for name in ("pool.csv", "test.csv"):
        assert Path("again", name).read_bytes() == Path("shop", name).read_bytes()


def test_the_commands_work_with_rows_of_the_same_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "Nr,Kommentar,label\n" + "".join(
        f"{id_},Größe passt nicht: {text},{label}\n" for id_, text, label in REVIEWS
    )
    Path("shop.csv").write_bytes(text.encode("cp1252"))
    named = ["--field", "text=Kommentar", "--id-column", "Nr", "--input-encoding", "cp1252"]
    own = ["init", "shop.csv", "-t", "review_sentiment", "--embedder", "hashed", *named]
    assert run([*own, "-o", "first"]) == 0
    assert [*read("first/pool.csv")[0]] == ["id", "Kommentar", "label"]
    shown = capsys.readouterr().out
    (line,) = (line for line in shown.splitlines() if line.startswith("your own rows: "))
    again = shlex.split(line.partition(": ")[2].replace("ROWS.csv", "shop.csv"))[1:]
    assert run([*again, "--engine", "none", "-o", "own.csv"]) == 0
    assert len(read("own.csv")) == len(REVIEWS)
    (made,) = (
        line
        for line in Path("first/commands.sh").read_text().splitlines()
        if named[1] in line and " init " in line
    )
    words = shlex.split(made.removeprefix("# "))[1:]
    assert run([*words[: words.index("-o")], *words[words.index("-o") + 2 :], "-o", "second"]) == 0
    assert read("second/pool.csv") == read("first/pool.csv")


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    write("shop.csv", "id,text,label", REVIEWS)
    assert run(["init", "shop.csv"]) == 0
    assert run(["init", "shop.csv"]) == 2
    assert "shop/pool.csv exists already (name another folder: -o)" in capsys.readouterr().err


def test_rows_that_are_no_examples_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    more = [["a", REVIEWS[0][1], "positive"], ["b", " ", "negative"], ["c", "not yet", ""]]
    write("shop.csv", "id,text,label", [*REVIEWS, *more])
    assert run(["init", "shop.csv"]) == 0
    assert (
        "shop.csv: 43 rows (1 without a label; 1 copies of another row, 1 of these with another "
        "label; 1 that cannot be used, such as shop.csv, line 43: column 'text' is empty)"
    ) in capsys.readouterr().out


def test_a_task_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [("red", "big"), ("blue", "small")] * 15
    rows = [
        [i, "" if i == 7 else 40 + i % 2 * -30 + i, i % 4, *size] for i, size in enumerate(sizes)
    ]
    write("parcels.csv", "id,weight,shop,colour,size class", rows)
    assert run(["init", "parcels.csv", "--label-column", "size class"]) == 0
    # The colour says the same as the label: it would give it away.
    assert "task: parcels (new, classified by weight, shop)" in capsys.readouterr().out
    card = yaml.safe_load(Path("parcels/task/task.yaml").read_text(encoding="utf-8"))
    assert [label["name"] for label in card["labels"]] == ["big", "small"]
    assert [f.get("kind") for f in card["fields"]] == ["number", "number"]
    assert not card["fields"][0]["required"]
    assert run(["lint-task", "parcels/task"]) == 1  # the definitions of the labels are missing
    assert "labels.big.definition" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["1\n\n\n", "9\n2\n\n\n"])
def test_two_columns_may_hold_the_label(
    answer: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[*row[:2], row[2], "shoes" if i % 3 else "hats"] for i, row in enumerate(REVIEWS)]
    write("shop.csv", "id,text,sentiment,category", rows)
    assert run(["init", "shop.csv", "--yes"]) == 2
    said = capsys.readouterr().err
    assert "which column holds the label? sentiment (negative 20, positive 20); category" in said
    assert "--label-column sentiment, --label-column category" in said
    on_a_terminal(monkeypatch, answer)
    if answer[0] == "1":
        assert run(["init", "shop.csv"]) == 0
        assert "review_sentiment" in capsys.readouterr().out
    else:
        assert run(["init", "shop.csv", "--task", "product_category"]) == 0
        said = capsys.readouterr()
        assert "a number from 1 to 2" in said.err
        assert "label: column 'category'" in said.out


def test_labels_of_its_own_beside_a_text_are_asked_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[text, "blue" if label == "positive" else "green"] for _, text, label in REVIEWS]
    write("moods.csv", "text,label", rows)
    assert run(["init", "moods.csv"]) == 2
    said = capsys.readouterr().err
    assert "which task is it?" in said
    assert "--task customer_intent" in said
    assert "--new-task moods" in said
    assert not Path("moods").exists()
    choices = said.split(";")
    on_a_terminal(monkeypatch, f"{len(choices)}\nn\n")
    assert run(["init", "moods.csv"]) == 0
    assert not Path("moods").exists()  # the answer to "write them?" was no
    on_a_terminal(monkeypatch, f"{len(choices)}\ny\n")
    assert run(["init", "moods.csv"]) == 0
    assert "task: moods (new, classified by text)" in capsys.readouterr().out
    assert Path("moods/task/task.yaml").is_file()
    assert len(read("moods/experts.csv")) == 14


@pytest.mark.parametrize(
    ("header", "rows", "more", "said"),
    [
        (
            "text,label",
            [[text, ["a", "b", "a|b"][i % 3]] for i, (_, text, _) in enumerate(REVIEWS)],
            ["--new-task", "gift"],
            "several labels per row, such as 'a|b'",
        ),
        ("text,price", [["a b", i] for i in range(9)], [], "no column looks like labels"),
        (
            "text,label",
            [["a", "positive"], ["b", "negative"]] * 9,
            [],
            "2 different rows with a label",
        ),
        ("text,label", REVIEWS[:0], [], "and no rows"),
        ("id,text,label", REVIEWS, ["--label-column", "mood"], "mood"),
        ("id,text,label", REVIEWS, ["--task", "no_such"], "no_such"),
        ("id,text,label", REVIEWS, ["--new-task", "review_sentiment"], "exists already"),
        ("id,text,label", REVIEWS, ["--task", "same_product"], "--field left="),
        ("id,text,label", REVIEWS, ["--task", "x", "--new-task", "y"], "leave one of them out"),
        ("id,text,label", REVIEWS, ["--task", "x", "--column", "text"], "--field F=COLUMN"),
        ("id,text,label", REVIEWS, ["--new-task", "gift", "--column", "label"], "is the label"),
        ("id,text,label", REVIEWS, ["--shots", "40"], "lower --shots or --test-rows"),
        ("id,text,label", [*REVIEWS, REVIEWS[0]], ["--id-column", "id"], "repeats an id"),
    ],
)
def test_errors(
    header: str,
    rows: list[list[Any]],
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("shop.csv", header, rows)
    assert run(["init", "shop.csv", *more, "-o", "made"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("made").exists()


def test_json_holds_the_results_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    write("shop.csv", "id,text,label", REVIEWS)
    assert run(["init", "shop.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["task"] == "review_sentiment"
    assert (found["examples"], found["test_rows"]) == (26, 14)
    assert len(found["commands"]) == len(found["results"]) == 1
    [table] = found["results"][0]["tables"]
    assert table["metrics"]["without LLM"]["accuracy"]["value"] > 0.9


def test_a_model_reads_after_the_experts_and_the_plan(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = ScriptedEngine()
    engines = {"none": shared_engine("none"), "scripted": engine}
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", engines.__getitem__)
    write("shop.csv", "id,text,label", REVIEWS)
    assert run(["init", "shop.csv", "--engine", "scripted"]) == 0
    shown = capsys.readouterr().out
    order = ["--engine none -o shop/experts.csv", "ecomfs plan", "-o shop/scored.csv", "LLM alone"]
    assert [shown.index(text) for text in order] == sorted(shown.index(text) for text in order)
    assert len(Path("shop/commands.sh").read_text(encoding="utf-8").split("\necomfs ")) == 4
