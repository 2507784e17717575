"""A table of labelled rows, and the examples read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs.cli.init import LabelledExamples, LabelledTable, read_examples
from ecomfs.errors import DuplicateIdError, EmptyInputError, InputError
from ecomfs.task import load_task

CARD = load_task("review_sentiment")


def read(path: Path, rows: list[str], id_column: str | None = None) -> LabelledExamples:
    path.write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    table = LabelledTable.read(path, None)
    mapping = table.fields(CARD, "label", {})
    return read_examples(table, CARD, mapping, "label", id_column)


def rows(n: int) -> list[str]:
    return [f"r{i},text number {i},{('positive', 'negative')[i % 2]}" for i in range(n)]


def test_rows_left_out_are_counted_and_reported(tmp_path: Path) -> None:
    more = ["a,text number 1,positive", "b,text number 2,positive", "c,no label,", "d,,negative"]
    found = read(tmp_path / "in.csv", [*rows(8), *more])
    assert len(found.examples) == 8
    assert found.labels == {"positive": 4, "negative": 4}
    assert (found.unlabelled, found.copies, found.contradicting) == (1, 2, 1)
    assert found.left_out([]) == (
        " (1 without a label; 2 copies of another row, 1 of these with another label; 1 that "
        "cannot be used, such as in.csv, line 13: column 'text' is empty)"
    )


def test_a_column_of_ids_is_used_where_it_names_every_row(tmp_path: Path) -> None:
    assert read(tmp_path / "in.csv", rows(6)).examples[0].id == "r0"
    repeated = [*rows(6), "r1,another text,positive"]
    assert read(tmp_path / "in.csv", repeated).examples[0].id == "line2"
    with pytest.raises(DuplicateIdError, match="column 'id' repeats an id"):
        read(tmp_path / "in.csv", repeated, id_column="id")


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 different rows with a label") as caught:
        read(tmp_path / "in.csv", rows(5))
    assert caught.value.hint == "label more rows; at least 6 are needed"
    with pytest.raises(EmptyInputError):
        read(tmp_path / "in.csv", [])
