"""Labels on the command line: missing, in several files, with several spellings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from scripted import ScriptedEngine

from ecomfs.cli import run
from ecomfs.pool import Pool

WORDS = [
    "-t",
    "product_category",
    "--engine",
    "scripted",
    "--embedder",
    "hashed",
    "--k",
    "2",
    "--calibration-size",
    "0",
    "--language",
    "en",
    "--quiet",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    engine = ScriptedEngine()
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
    return tmp_path


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_import_leaves_out_rows_not_labelled_yet_and_counts_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    todo = write("todo.csv", "id,title,label,predicted\na,x,shoes,\nb,,,\nc,z,  ,\nd,w,hats,\n")
    command = ["examples", "import", todo, "-t", "product_category", "--pool", "pool.db"]
    assert run(command) == 0
    said = "2 added · 0 unchanged · 0 changed · 2 without a label yet, left out: version 1"
    assert said in capsys.readouterr().out
    with Pool.open("pool.db", create=False) as pool:
        assert {e.id: e.label for e in pool.examples()} == {"a": "shoes", "d": "hats"}
    write("todo.csv", "id,title,label\na,x,\nb,y,\n")
    assert run(command) == 2
    assert "todo.csv: column 'label' has no labels" in capsys.readouterr().err


def test_a_table_of_suggest_is_imported_once_some_of_it_is_labelled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("raw.csv", "id,title\n" + "".join(f"{i},thing number {i} of a kind\n" for i in range(9)))
    suggest = ["suggest", "raw.csv", "-t", "product_category", "-n", "4", "-o", "todo.csv"]
    assert run([*suggest, "--embedder", "hashed"]) == 0
    todo = pd.read_csv("todo.csv", dtype=str, keep_default_na=False)
    assert set(todo["label"]) == {""}
    todo.loc[[0, 2], "label"] = ["shoes", "hats"]
    todo.to_csv("todo.csv", index=False)
    command = ["examples", "import", "todo.csv", "-t", "product_category", "--pool", "p.db"]
    assert run(command) == 0
    assert "2 added · 0 unchanged · 0 changed · 2 without a label" in capsys.readouterr().out


def test_examples_of_several_files_are_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    write("one.csv", "title,label\na red shoe,shoes\na blue shoe,shoes\n")
    write("two.csv", "title,label\na straw hat,hats\na felt hat,hats\n")
    write("in.csv", "id,title\n1,a hat\n")
    command = ["score", "in.csv", *WORDS, "-o", "out.csv"]
    assert run([*command, "-e", "one.csv", "-e", "two.csv", "--probabilities"]) == 0
    assert "4 labelled examples" in capsys.readouterr().err
    out = pd.read_csv("out.csv")
    assert {"p_shoes", "p_hats"} <= set(out.columns)
    shown = set(" ".join(out["demonstration_ids"]).split())
    assert shown <= {"one.csv:line2", "one.csv:line3", "two.csv:line2", "two.csv:line3"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.csv", "b.csv"], "b.csv, line 3: id '1' is already used in a.csv, line 2"),
        (["a.csv", "./a.csv"], "a file of examples is given twice"),
        (
            ["a.csv", "pool.db"],
            "--examples pool.db is a pool and cannot be combined with other --examples",
        ),
    ],
)
def test_files_that_cannot_be_put_together_are_refused(
    files: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.csv", "id,title,label\n1,x,shoes\n2,y,hats\n")
    write("b.csv", "id,title,label\n3,z,shoes\n1,w,hats\n")
    write("in.csv", "id,title\n1,a hat\n")
    named = [word for file in files for word in ("-e", file)]
    assert run(["score", "in.csv", *WORDS, *named]) == 2
    assert message in capsys.readouterr().err


def test_true_labels_that_no_example_has_are_named_in_the_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("pool.csv", "title,label\na,1\nb,2\nc,10\n")
    write("in.csv", "title,truth\na,1.0\nb,-1\nc,10%\nd,-1\ne,\nf,nan\n")
    assert run(["score", "in.csv", *WORDS, "-e", "pool.csv", "--gold-column", "truth"]) == 0
    captured = capsys.readouterr()
    assert (
        "note: 3 rows have a true label that no labelled example has, and count as wrong: "
        "'-1' (2), '10%' (1)" in captured.err
    )
    assert "n = 4 rows with a true label" in captured.out


def test_undeclared_spellings_of_one_label_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    write("pool.csv", "text,label\na,Positive\nb,positive\nc,neg\nd,negative\n")
    write("in.csv", "text\na\n")
    words = ["-t", "review_sentiment", *WORDS[2:]]
    assert run(["score", "in.csv", *words, "-e", "pool.csv"]) == 0
    said = capsys.readouterr().err
    assert "note: pool.csv: 'positive' counts as the label 'Positive'" in said
    assert "'negative' counts" not in said  # a declared alias of neg


def test_a_draft_reports_spellings_it_treats_as_one_label(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("rows.csv", "note,mood\na,polish\nb,Polish\nc,M2\nd,M²\n")
    assert run(["new-task", "gift", "--from", "rows.csv", "--label-column", "mood"]) == 0
    said = capsys.readouterr().out
    assert "4 rows, 3 labels" in said
    assert "note: 'Polish' counts as the label 'polish' (aliases)" in said


def test_cleaning_reports_respelt_labels_and_keeps_signs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        "one thing,Apple",
        "two others,apple",
        "third row here,Apple",
        "fourth one,M²",
        "fifth and last,M2",
    ]
    write("rows.csv", "text,label\n" + "\n".join(rows) + "\n")
    command = ["prepare", "clean", "rows.csv", "--text-column", "text", "--label-column", "label"]
    assert run([*command, "-o", "a.csv"]) == 0
    assert "note: label 'apple' is 'Apple', in 1 row" in capsys.readouterr().out
    assert pd.read_csv("a.csv")["label"].to_list() == ["Apple", "Apple", "Apple", "M²", "M2"]
    assert run([*command, "-o", "b.csv", "--no-labels"]) == 0
    assert pd.read_csv("b.csv")["label"].to_list() == ["Apple", "apple", "Apple", "M²", "M2"]
