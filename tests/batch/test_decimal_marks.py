"""The decimal mark of numbers: in the pool's table, in the input, and in single rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from scripted import ScriptedEngine

from ecomfs.batch import find_columns, read_examples, read_marks, score_table
from ecomfs.errors import EcomfsError
from ecomfs.estimators import FewShotClassifier
from ecomfs.io import TableReader
from ecomfs.task import load_task
from ecomfs.types import Example

TEMPLATE = """{{ instruction }}
{% for label in labels %}
- {{ label.answer }}
{% endfor %}
{% for demonstration in demonstrations %}
Order: {{ demonstration.text }}
Kind: {{ demonstration.answer }}
{% endfor %}
Order: {{ text }}
Kind:
"""
PLAIN = [(f"{i}234.5", f"0.{i}43") for i in range(1, 9)]
GERMAN = [(f"{i}.234,50 €", f"0,{i}43") for i in range(1, 9)]
ENGLISH = [(f"€{i},234.50", f"0.{i}43") for i in range(1, 9)]


def both(text: str) -> dict[str, str]:
    return {"en": text, "zh": text}


@pytest.fixture
def task(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    folder.mkdir()
    card = {
        "name": "orders",
        "title": both("Orders"),
        "description": both("Orders"),
        "fields": [
            {"name": "price", "title": both("Price"), "kind": "price"},
            {"name": "weight", "title": both("Weight"), "kind": "number", "required": False},
        ],
        "label_title": both("Kind"),
        "label_space": "open",
        "instruction": both("Say the kind of the order."),
        "default_k": 2,
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    for language in ("en", "zh"):
        (folder / f"{language}.v1.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def table(
    path: Path, cells: list[tuple[str, str]], delimiter: str = ";", label: bool = True
) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "price", "weight", *["label"] * label])
        for i, pair in enumerate(cells):
            writer.writerow([f"r{i}", *pair, *[("big", "small")[i % 2]] * label])
    return path


def fitted(task: Path, examples: Any, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(
        task, ScriptedEngine(), embedder="hashed", calibration_size=0, language="en", **options
    ).fit(examples)


def texts(clf: FewShotClassifier, source: Path, fields: Any = None) -> list[str]:
    """What the model would read of the rows of a table."""
    reader = TableReader(source)
    card = clf.pipeline_.card
    mapping = find_columns(source, card, fields=fields, reader=reader).fields
    mapping = read_marks(mapping, card, reader)
    return [clf.pipeline_.text(mapping.fields(row.cells, card)) for row in reader.rows()]


@pytest.mark.parametrize("cells", [PLAIN, GERMAN, ENGLISH])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_numbers_are_the_same_whatever_the_convention_of_their_table(
    task: Path, tmp_path: Path, cells: list[tuple[str, str]], delimiter: str
) -> None:
    card = load_task(task)
    clf = fitted(task, read_examples(table(tmp_path / "pool.csv", cells, delimiter), card))
    for i, shown in enumerate([PLAIN, GERMAN, ENGLISH]):
        source = table(tmp_path / f"in{i}.csv", [*shown, ("9", "")], delimiter, label=False)
        found = texts(clf, source)
        assert "1,234.50" in found[0]
        assert "0.143" in found[0]


def test_a_run_says_which_marks_its_numbers_have(task: Path, tmp_path: Path) -> None:
    clf = fitted(task, read_examples(table(tmp_path / "pool.csv", GERMAN), load_task(task)))
    source = table(tmp_path / "in.csv", ENGLISH, label=False)
    result = score_table(source, tmp_path / "out.csv", clf.pipeline_)
    assert result.numbers == {"price": "decimal point", "weight": "decimal point"}
    assert result.tally.status["ok"] == len(ENGLISH)
    out = TableReader(tmp_path / "out.csv").rows()
    assert [row.cells["price"] for row in out] == [price for price, _ in ENGLISH]


def test_cells_with_two_readings_are_read_by_the_pool(task: Path, tmp_path: Path) -> None:
    clf = fitted(task, read_examples(table(tmp_path / "pool.csv", GERMAN), load_task(task)))
    source = table(tmp_path / "in.csv", [("1.234", "1,234")], ",", label=False)
    (found,) = texts(clf, source)
    assert "1,234" in found
    assert "1.23" in found
    assert clf.pipeline_.text({"price": "1.234", "weight": "1,234"}) == found


@pytest.mark.parametrize("fields", [{"price": ":comma"}, {"price": "price:comma"}])
def test_a_column_without_a_clear_mark_is_refused_until_it_is_given(
    task: Path, tmp_path: Path, fields: dict[str, str]
) -> None:
    source = table(tmp_path / "pool.csv", [("1,234", ""), ("2,500", "")] * 4, ",")
    with pytest.raises(
        EcomfsError, match=r"pool\.csv: column 'price': '1,234' may be 1234 or 1\.234"
    ):
        read_examples(source, load_task(task))
    examples = read_examples(source, load_task(task), fields=fields)
    assert "1.23" in fitted(task, examples).pipeline_.text(examples[0].fields)
    card = yaml.safe_load((task / "task.yaml").read_text())
    card["fields"][0]["decimal"] = "point"
    (task / "task.yaml").write_text(yaml.safe_dump(card))
    examples = read_examples(source, load_task(task))
    assert "1,234" in fitted(task, examples).pipeline_.text(examples[0].fields)


@pytest.mark.parametrize("entry", ["frame", "list", "table"])
def test_a_column_that_mixes_marks_is_refused_by_every_entry(
    task: Path, tmp_path: Path, entry: str
) -> None:
    cells = [("9,99", ""), ("9.50", "")]
    rows = [{"price": p, "label": "ab"[i]} for i, (p, _) in enumerate(cells)]
    entries = {
        "frame": lambda: pd.DataFrame(rows),
        "list": lambda: [Example(str(i), {"price": p}, "ab"[i]) for i, (p, _) in enumerate(cells)],
        "table": lambda: read_examples(table(tmp_path / "p.csv", cells), load_task(task)),
    }
    with pytest.raises(EcomfsError, match="column 'price' mixes decimal marks"):
        fitted(task, entries[entry]())


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_numbers_that_a_format_keeps_apart_from_text_have_a_point(
    task: Path, tmp_path: Path, kind: str
) -> None:
    clf = fitted(task, read_examples(table(tmp_path / "pool.csv", GERMAN), load_task(task)))
    frame = pd.DataFrame({"id": ["a"], "price": [12.345], "weight": [1.125]})
    source = tmp_path / f"in.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(source)
    else:
        frame.to_json(source, orient="records", lines=True)
    (found,) = texts(clf, source)
    assert "12.3" in found
    assert clf.pipeline_.text({"price": 12.345, "weight": 1.125}) == found


def test_a_mark_is_of_number_fields_only(task: Path, tmp_path: Path) -> None:
    source = table(tmp_path / "pool.csv", GERMAN)
    with pytest.raises(EcomfsError, match="has no field 'colour'"):
        read_examples(source, load_task(task), fields={"colour": ":comma"})
    card = yaml.safe_load((task / "task.yaml").read_text())
    card["fields"].append(
        {"name": "note", "title": both("Note"), "kind": "text", "decimal": "comma"}
    )
    (task / "task.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(EcomfsError, match="decimal is for kinds number and price only"):
        load_task(task)
