"""``--safe-csv`` and ``--input-safe-csv``: formulas are escaped and restored."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ecomfs.cli import run

TASK = ["-t", "product_category", "--engine", "none", "--embedder", "hashed"]
LABEL = '=HYPERLINK("http://x","y")'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECOMFS_STATE", "off")
    titles = ["red shoe", "blue shoe", "steel pan", "iron pan"]
    write("pool.csv", ["title", "label"], *zip(titles, [LABEL, LABEL, "pans", "pans"], strict=True))
    write("in.csv", ["id", "title"], ("1", "red shoe"), ("2", "=1+1 shoe"), ("3", ""))


def write(name: str, *rows: object) -> None:
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows(rows)  # type: ignore[arg-type]


def table(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_added_columns_are_marked_and_all_with_the_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    score = ["score", "in.csv", "-e", "pool.csv", *TASK, "-q", "-o"]
    assert run([*score, "out.csv"]) == 0
    first, second, third = table("out.csv")
    assert first["predicted"] == first["suggestion"] == f"'{LABEL}"
    assert second["title"] == "=1+1 shoe"
    assert third["status"] == "failed"
    assert run([*score, "safe.csv", "--safe-csv"]) == 0
    assert table("safe.csv")[1]["title"] == "'=1+1 shoe"
    again = ["score", "safe.csv", "-e", "pool.csv", *TASK, "-q", "-o", "again.csv"]
    assert run([*again, "--input-safe-csv"]) == 0
    (second,) = table("again.csv")[1:2]
    assert second["title"] == "=1+1 shoe"
    assert second["predicted_2"] == f"'{LABEL}"


def test_a_marked_prediction_is_the_label_that_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    write("pool.csv", ["title", "label"], ("red shoe", LABEL), ("steel pan", "pans"))
    write("gold.csv", ["id", "title", "label"], ("1", "red shoe", LABEL), ("2", "pan", "pans"))
    score = ["score", "gold.csv", "-e", "pool.csv", *TASK, "-q", "-o", "out.csv"]
    assert run(score) == 0
    capsys.readouterr()
    assert [r["predicted"] for r in table("out.csv")] == [f"'{LABEL}", "pans"]
    assert run(["eval", "score", "out.csv", "--gold-column", "label", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]["metrics"]["out"]
    assert found["accuracy"]["value"] == 1.0


def test_an_export_comes_back_equal() -> None:
    pool = ["--pool", "pool.db"]
    assert run(["examples", "import", "pool.csv", "-t", "product_category", *pool]) == 0
    assert run(["examples", "export", "out.csv", *pool, "--safe-csv"]) == 0
    assert {row["label"] for row in table("out.csv")} == {f"'{LABEL}", "pans"}
    back = ["examples", "import", "out.csv", "-t", "product_category", "--pool", "new.db"]
    assert run([*back, "--input-safe-csv"]) == 0
    assert run(["examples", "export", "back.csv", "--pool", "new.db"]) == 0
    assert run(["examples", "export", "first.csv", *pool]) == 0
    assert Path("back.csv").read_bytes() == Path("first.csv").read_bytes()
