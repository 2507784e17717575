"""``ecomfs prepare augment``: the output table, the rejected candidates and the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from writing import POOL, Writer

from ecomfs.batch import import_examples, read_examples, write_examples
from ecomfs.cli import run
from ecomfs.pool import Pool
from ecomfs.task import load_task
from ecomfs.types import Example

TASK = "review_sentiment"
CARD = load_task(TASK)
TEXTS = [
    "within a minute the band was loose and now the thing is broken",
    "it is working well",
    "",
    "all over my desk it leaks, this thing",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    writer = Writer(lambda source, seed: TEXTS[(seed + len(source)) % len(TEXTS)])
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: writer)
    monkeypatch.setattr("ecomfs.engine.shared.shared_engine", lambda spec: writer)
    write_examples("pool.csv", POOL)
    Path("titles.csv").write_text(
        "title,label\nthe wheel of the bag broke on day one,returned\nshiny,liked\n",
        encoding="utf-8",
    )
    return tmp_path


def augment(*arguments: str, source: str = "pool.csv") -> int:
    base = ["prepare", "augment", source, "--task", TASK, "-o", "out.csv", "--engine", "scripted"]
    return run([*base, "--calibration-size", "0", "--embedder", "hashed", *arguments])


def rejected() -> list[dict[str, str]]:
    with Path("out.rejected.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_candidate_is_in_one_of_the_two_tables(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert augment("--target", "5", "--attempts", "3", "--report", "report.json") == 0
    out = read_examples("out.csv", CARD)
    assert out[: len(POOL)] == POOL
    made = out[len(POOL) :]
    assert [e.label for e in made] + [r["label"] for r in rejected()]
    assert {e.method for e in made} == {"rewrite"}
    assert all(e.synthetic and e.source_id in {"n1", "n1b", "n2", "p0"} for e in made)
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["kept"] == len(made) > 0
    assert sum(report["rejected"].values()) == len(rejected()) > 0
    assert report["candidates"] == len(made) + len(rejected())
    told = capsys.readouterr().out
    assert f"{report['candidates']} candidates, {report['kept']} kept" in told
    assert "no letters or digits" in told


def test_the_result_goes_into_a_pool_and_out_again(folder: Path) -> None:
    assert augment("--target", "4", "--label", "negative", "--attempts", "4") == 0
    whole = read_examples("out.csv", CARD)
    with Pool.open("shop.db") as pool:
        pool.add(POOL)
        import_examples(pool, whole)
        assert pool.examples() == whole
    command = ["examples", "export", "again.csv", "--pool", "shop.db"]
    assert run(command) == 0
    assert read_examples("again.csv", CARD) == whole
    with Pool.open("shop.db", synthetic=False) as pool:
        assert pool.examples() == POOL


def test_columns_that_are_left_out_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{e.id},{e.fields['text'].replace(',', '')},{e.label},5" for e in POOL]
    Path("wide.csv").write_text("\n".join(["id,text,label,stars", *rows]), encoding="utf-8")
    assert augment("--target", "4", "--label", "negative", source="wide.csv") == 0
    assert "left out: stars" in capsys.readouterr().out


def test_borrowing(folder: Path) -> None:
    words = ["--borrow", "titles.csv", "--borrow-task", "product_category"]
    assert augment(*words, "--map", "returned=negative") == 0
    made = read_examples("out.csv", CARD)[-1]
    assert (made.label, made.method) == ("negative", "borrow")
    assert made.source_id == "product_category:titles.csv:line2"
    assert [(r["reason"], r["text"]) for r in rejected()] == [("no_label", "shiny")]


def test_borrowing_works_without_rewrites(folder: Path) -> None:
    words = ["--borrow", "titles.csv", "--borrow-task", "product_category"]
    words += ["--map", "returned=negative", "--target", "5", "--label", "negative", "--no-rewrite"]
    assert augment(*words, "--report", "report.json") == 0
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["labels"]["negative"] == {
        "present": 3,
        "wanted": 5,
        "added": 1,
        "still_missing": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--target and --share are missing"),
        (["--target", "2"], "no label has fewer than 2 examples"),
        (["--target", "9", "--label", "neutral-ish"], "unknown label 'neutral-ish'"),
        (["--target", "9", "--temperature", "0"], "temperature 0.0"),
        (["--target", "9", "--confidence", "2"], "--confidence 2.0"),
        (["--target", "9", "--near", "0.1"], "--near 0.1"),
        (["--target", "9", "--rewrite-field", "body"], "no text field 'body'"),
        (["--target", "9", "--no-rewrite"], "--no-rewrite without --borrow (leave out"),
        (["--target", "9", "--prompt", "none.jinja"], "none.jinja"),
        (["--target", "9", "--map", "a=b"], "need --borrow"),
        (["--borrow", "titles.csv", "--borrow-task", "no_task"], "no task 'no_task'"),
        (
            ["--borrow", "titles.csv", "--borrow-task", "product_category", "--map", "x=positive"],
            "has no label 'x'",
        ),
        (
            ["--borrow", "titles.csv", "--borrow-task", "product_category", "--map", "liked=nice"],
            "unknown label 'nice'",
        ),
        (["--borrow", "titles.csv", "--borrow-task", "product_category"], "none of its labels"),
        (["--target", "9", "-o", "pool.csv"], "are the same file"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert augment(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_true_labels_of_synthetic_rows_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_examples("test.csv", [*POOL, Example("s", {"text": "bad"}, "negative", True, "n1")])
    words = ["--task", TASK, "--examples", "pool.csv", "--engine", "scripted"]
    assert run(["score", "test.csv", *words, "--gold-column", "label"]) == 2
    said = capsys.readouterr().err
    assert "test.csv, line 9: a synthetic example must not be used as a test row" in said
    assert run(["ab", "v1", "v2", "--data", "test.csv", *words]) == 2
    assert "'s' is synthetic and cannot be tested on" in capsys.readouterr().err
    only = [Example("s", {"text": "bad"}, "negative", True, "n1")]
    write_examples("made.csv", [*only, Example("t", {"text": "good"}, "positive", True)])
    words[3] = "made.csv"
    assert run(["score", "pool.csv", *words, "--no-synthetic"]) == 2
    assert "every example is synthetic" in capsys.readouterr().err


def test_a_relabelled_source_names_its_rewrites(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pool.open("shop.db") as pool:
        pool.add([*POOL, Example("s", {"text": "bad"}, "negative", True, "n1", "rewrite")])
    assert run(["examples", "relabel", "n1", "positive", "--pool", "shop.db"]) == 0
    assert "note: example 's' made from it keep their label" in capsys.readouterr().out
    assert run(["examples", "relabel", "n2", "positive", "--pool", "shop.db"]) == 0
    assert "note" not in capsys.readouterr().out
