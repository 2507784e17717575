"""Selection of rows, and the count of the others."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine, classifier

from ecomfs.batch import Condition, Selection, score_table
from ecomfs.errors import ColumnError, ConfigError, InputError
from ecomfs.io import TableReader


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(
        "id,text,price,shop\n"
        + "".join(f"{i},row {i} fits,{i * 1.5 if i % 5 else 'free'},s{i % 3}\n" for i in range(60))
    )
    return path


def ids(source: Path, selection: Selection, output: str = "out.csv") -> list[int]:
    target = source.with_name(output)
    result = score_table(source, target, classifier(k=0).pipeline_, selection=selection)
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert result.tally.rows == len(rows)
    assert all(row["status"] == "ok" for row in rows)
    return [int(row["id"]) for row in rows]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("shop = s1", lambda i: i % 3 == 1),
        ("shop!=s1", lambda i: i % 3 != 1),
        ("price<6", lambda i: i % 5 and i * 1.5 < 6),
        ("price >= 30", lambda i: i % 5 and i * 1.5 >= 30),
        (r"text ~ row \d fits", lambda i: i < 10),
        ("price = free", lambda i: i % 5 == 0),
    ],
)
def test_conditions(source: Path, condition: str, expected: object) -> None:
    assert callable(expected)
    found = ids(source, Selection(where=(Condition.parse(condition),)))
    assert found == [i for i in range(60) if expected(i)]


def test_all_conditions_hold_and_the_limit_counts_what_they_leave(source: Path) -> None:
    both = Selection(where=(Condition.parse("shop=s0"), Condition.parse("price>10")), limit=3)
    assert ids(source, both) == [9, 12, 18]


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order(source: Path) -> None:
    drawn = ids(source, Selection(sample=10, seed=1))
    assert len(set(drawn)) == 10
    assert drawn == sorted(drawn)
    assert drawn == ids(source, Selection(sample=10, seed=1))
    assert drawn != ids(source, Selection(sample=10, seed=2))
    assert ids(source, Selection(sample=100)) == list(range(60))
    only = Selection(where=(Condition.parse("shop=s2"),), sample=5)
    assert all(i % 3 == 2 for i in ids(source, only))
    assert len(ids(source, only)) == 5


def test_rows_left_out_are_counted(source: Path) -> None:
    pipeline = classifier(k=0).pipeline_
    only = Selection(where=(Condition.parse("shop=s1"),))
    tally = score_table(source, source.with_name("o.csv"), pipeline, selection=only).tally
    assert (tally.rows, tally.left_out) == (20, 40)


def test_a_selection_goes_on_where_it_was(source: Path) -> None:
    whole = ids(source, Selection(where=(Condition.parse("shop=s1"),), limit=15), "whole.csv")
    engine = ScriptedEngine(batch=4)
    target = source.with_name("out.csv")
    selection = Selection(where=(Condition.parse("shop=s1"),), limit=15)
    pipeline = classifier(engine, k=0).pipeline_

    def leave(tally: object) -> None:
        raise RuntimeError("the caller's own fault")

    with pytest.raises(RuntimeError, match="own fault"):
        score_table(source, target, pipeline, selection=selection, chunk_rows=4, on_progress=leave)
    assert target.with_name("out.csv.journal").exists()
    score_table(source, target, pipeline, selection=selection, chunk_rows=4)
    assert target.read_bytes() == source.with_name("whole.csv").read_bytes()
    assert len(whole) == 15


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("shop", "COLUMN OP VALUE"),
        ("= s1", "COLUMN OP VALUE"),
        ("price < cheap", "compares numbers"),
        ("text ~ (", "not a regular expression"),
    ],
)
def test_conditions_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Condition.parse(text)


def test_a_condition_on_no_column_is_told_before_anything_is_written(source: Path) -> None:
    with pytest.raises(ColumnError, match="did you mean 'price'"):
        ids(source, Selection(where=(Condition.parse("prise>1"),)))
    assert not source.with_name("out.csv").exists()


@pytest.mark.parametrize("selection", [{"limit": 0}, {"sample": -1}])
def test_numbers_below_one(selection: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        Selection(**selection)


@given(
    st.text(st.characters(exclude_characters="=!<>~\0", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["=", "!="]),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_column_and_value_can_be_named(column: str, op: str, value: str) -> None:
    if not column.strip() or value[:1] in ("=", "~"):
        return
    where = Condition.parse(f"{column}{op}{value}")
    assert (where.column, where.op, where.value) == (column.strip(), op, value.strip())
    assert where.holds({where.column: value}) is (op == "=")


def test_chosen_rows_of_a_table(source: Path) -> None:
    reader = TableReader(source, chunk_rows=7)
    chosen = Selection(limit=5).over(reader)
    found = [position for chunk in reader for position, _ in chosen.pick(chunk.rows, chunk.first)]
    assert found == [0, 1, 2, 3, 4]
    assert chosen.full


@pytest.mark.parametrize(
    ("cells", "condition", "kept"),
    [
        (["9,99", "1.234,56", "50,01"], "price<50", [0]),
        (["9.99", "1,234.56", "50.01"], "price<50", [0]),
        (["1,234", "0,043", "60"], "price<50", [0, 1]),
        (["1,234", "9.99", "60"], "price<50", [1]),
        (["9,99 €", "€ 1.234,00", "(5,5)"], "price < 9,995", [0, 2]),
        (["45%", "60 %", "n/a"], "price<=50%", [0]),
        (["1.234", "2.500.000", "7"], "price>=1,234", [0, 1, 2]),
        (["1,234", "9,99"], "price:comma<5", [0]),
        (["1,234"], "price:point<5", []),
        (["1,234", "9.99"], "price:comma<5", [0]),
    ],
)
def test_numbers_of_a_condition_have_the_convention_of_their_column(
    tmp_path: Path, cells: list[str], condition: str, kept: list[int]
) -> None:
    source = tmp_path / "in.tsv"
    source.write_text("price\n" + "".join(f"{c}\n" for c in cells), encoding="utf-8")
    reader = TableReader(source, delimiter="\t")
    chosen = Selection(where=(Condition.parse(condition),)).over(reader)
    found = [position for chunk in reader for position, _ in chosen.pick(chunk.rows, chunk.first)]
    assert found == kept


@pytest.mark.parametrize("cells", [["1,234", "2,500"], ["9,99", "9.50"]])
def test_a_condition_on_a_column_of_unclear_numbers_is_refused_by_name(
    tmp_path: Path, cells: list[str]
) -> None:
    source = tmp_path / "in.tsv"
    source.write_text("price\n" + "".join(f"{c}\n" for c in cells), encoding="utf-8")
    with pytest.raises(InputError, match=r"in\.tsv: column 'price'"):
        Selection(where=(Condition.parse("price<50"),)).over(TableReader(source, delimiter="\t"))


def test_a_semicolon_table_has_decimal_commas(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id;price\na;1,234\nb;60\n", encoding="utf-8")
    chosen = Selection(where=(Condition.parse("price<50"),)).over(TableReader(source))
    assert chosen.selection.numbers == {"price": "decimal comma"}
    assert [at for at, _ in chosen.pick(TableReader(source).rows(), 0)] == [0]
