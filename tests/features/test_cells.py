"""Cells to typed values, and the message for a cell of another kind."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecomfs.errors import RowError
from ecomfs.features import read_cell
from ecomfs.features.cells import Price, day_number, days_first
from ecomfs.features.phrases import json_phrase
from ecomfs.task import Bilingual, FieldSpec


def cell(kind: str, value: object, **options: Any) -> Any:
    return read_cell(FieldSpec(name="f", kind=kind, **options), value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12", 12),
        (" 1,234.5 ", 1234.5),
        ("１２", 12),
        ("-.5", -0.5),
        ("3e2", 300),
        ("12%", 0.12),
        (7, 7),
        (np.float64(2.5), 2.5),
        (np.int64(3), 3),
    ],
)
def test_numbers(value: object, number: float) -> None:
    assert cell("number", value) == pytest.approx(number)


def test_a_number_may_carry_its_unit() -> None:
    assert cell("number", "84.5 s", unit="s") == 84.5
    assert cell("number", "12%", unit="%") == 12


@pytest.mark.parametrize("kind", ["number", "price", "date"])
@pytest.mark.parametrize("value", ["", " ", None, float("nan"), "NaN", "n/a", "-", "未知"])
def test_missing_values(kind: str, value: object) -> None:
    assert cell(kind, value) is None


@pytest.mark.parametrize("kind", ["text", "category", "history", "json", "id"])
def test_missing_texts_and_lists(kind: str) -> None:
    assert cell(kind, "") is None
    assert cell(kind, None) is None


@pytest.mark.parametrize(
    ("value", "price"),
    [
        ("$1,299.00", Price(1299, "$")),
        ("￥59", Price(59, "¥")),
        ("1299元", Price(1299, "¥")),
        ("12,50 €", Price(12.5, "€")),
        ("1.299,00 EUR", Price(1299, "€")),
        ("28 PLN", Price(28, "PLN")),
        ("1,299,000", Price(1299000, "")),
        ("CHF 1'299.50", Price(1299.5, "CHF")),
        ("($5.00)", Price(-5, "$")),
        (28, Price(28, "")),
    ],
)
def test_prices(value: object, price: Price) -> None:
    assert cell("price", value) == price


@pytest.mark.parametrize("kind", ["number", "price"])
def test_a_number_with_two_readings_needs_the_pool_or_the_card(kind: str) -> None:
    with pytest.raises(RowError, match="with a clear decimal mark") as caught:
        cell(kind, "1,234")
    assert "decimal: comma" in caught.value.hint
    for mark, amount in (("comma", 1.234), ("point", 1234.0)):
        found = cell(kind, "1,234", decimal=mark)
        assert getattr(found, "amount", found) == amount
    with pytest.raises(RowError, match="with a decimal comma, the mark of its column"):
        cell(kind, "9.99", decimal="comma")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2008-07-03", datetime(2008, 7, 3)),
        ("2019-10-01 00:05:01 UTC", datetime(2019, 10, 1, 0, 5, 1)),
        ("2024-05-01T09:30:00", datetime(2024, 5, 1, 9, 30)),
        ("2024/5/1", datetime(2024, 5, 1)),
        ("2024年5月1日", datetime(2024, 5, 1)),
        ("1 May 2024", datetime(2024, 5, 1)),
        ("25/12/2024", datetime(2024, 12, 25)),
        ("12/25/2024", datetime(2024, 12, 25)),
        ("5/5/2024", datetime(2024, 5, 5)),
        ("25/12/2024 14:30", datetime(2024, 12, 25, 14, 30)),
        ("12/25/2024 2:30:05 PM", datetime(2024, 12, 25, 14, 30, 5)),
        ("12/25/2024 12:05 a.m.", datetime(2024, 12, 25, 0, 5)),
        ("12/25/2024 14:30 +0800", datetime(2024, 12, 25, 6, 30, tzinfo=UTC)),
        ("12/25/2024 14:30 UTC", datetime(2024, 12, 25, 14, 30, tzinfo=UTC)),
        (1714555800.0, datetime(2024, 5, 1, 9, 30, tzinfo=UTC)),
        ("1714555800.0", datetime(2024, 5, 1, 9, 30, tzinfo=UTC)),
        ("1714555800000.0", datetime(2024, 5, 1, 9, 30, tzinfo=UTC)),
        ("1714555800", datetime(2024, 5, 1, 9, 30, tzinfo=UTC)),
        (date(2024, 5, 1), datetime(2024, 5, 1)),
    ],
)
def test_dates(value: object, moment: datetime) -> None:
    assert cell("date", value) == moment


def test_a_date_with_two_readings_needs_the_pool_or_the_card() -> None:
    with pytest.raises(RowError, match=r"not an unambiguous date \(set date_format in the card"):
        cell("date", "3/7/2024")
    assert cell("date", "3/7/2024", date_format="%d/%m/%Y") == datetime(2024, 7, 3)
    spec = FieldSpec(name="f", kind="date")
    assert read_cell(spec, "3/7/2024", day_first=False) == datetime(2024, 3, 7)
    for cells, first in (
        (["3/7/2024", "4/30/2024"], False),
        (["3/7/2024"], None),
        (["30/4/2024", "4/30/2024"], None),
    ):
        assert days_first([spec], [{"f": value} for value in cells]) == {"f": first}


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("9999-12-31T23:59:59-05:00", day_number(datetime(9999, 12, 31, 23, 59, 59)) + 5 / 24),
        ("0001-01-01T00:00:00+08:00", 1 - 8 / 24),
        ("2024-05-01T08:00:00+08:00", day_number(datetime(2024, 5, 1))),
    ],
)
def test_days_of_a_date_with_a_time_zone(text: str, days: float) -> None:
    assert day_number(cell("date", text)) == pytest.approx(days, abs=1e-9)


def test_keys_that_are_no_text() -> None:
    spec = FieldSpec(name="a", kind="number")
    assert spec.find({38: 1, None: 2, "A": 3}) == 3
    assert json_phrase({38: {39: 2}}, "en") == "38.39: 2"


def test_histories() -> None:
    assert cell("history", '["a", {"b": 1}]') == ["a", {"b": 1}]
    assert cell("history", ("a", "b")) == ["a", "b"]
    assert cell("history", "a > b > ", separator=">") == ["a", "b"]
    assert cell("history", '["new", "old"]', newest_first=True) == ["old", "new"]
    assert cell("history", "[]") == []


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("number", "old", "'old' is not a number"),
        ("number", True, "True is not a number"),
        ("number", "1,2,3", "'1,2,3' is not a number"),
        ("number", float("inf"), "inf is not a finite number"),
        ("number", [1], r"\[1\] is not a number"),
        ("price", "cheap", "'cheap' is not a price"),
        ("price", "1.2.3 €", "is not a price"),
        ("date", "soon", r"'soon' is not a date \(set date_format in the card\)"),
        ("date", "31/31/2024", "is not a date"),
        ("date", "20240501", "is not a date"),
        ("date", "12/25/2024 or later", "is not a date"),
        ("date", "12/25/2024 14:30 pm", "is not a date"),
        ("date", "12/25/2024 25:00", "is not a date"),
        ("number", np.True_, "True is not a number"),
        ("number", 10**400, "is not a number"),
        ("json", "1" * 5000, "is not JSON"),
        ("json", "[" * 101 + "]" * 101, "is not JSON of at most 100 levels"),
        ("history", "[" * 101 + "]" * 101, "is not JSON of at most 100 levels"),
        ("history", "a, b", "'a, b' is not JSON"),
        ("history", '{"a": 1}', r"is not a list \(expected a JSON list"),
        ("json", "{", "'{' is not JSON"),
        ("category", ["a"], r"\['a'\] is not a category"),
        ("text", {"a": 1}, "is not a text"),
        ("number", "x" * 100, "x…' is not a number"),
    ],
)
def test_values_of_another_kind_name_the_column(kind: str, value: object, message: str) -> None:
    with pytest.raises(RowError, match=f"column 'f': .*{message}"):
        cell(kind, value)


@settings(deadline=None)
@given(
    st.sampled_from(["text", "number", "category", "history", "json", "price", "date", "id"]),
    st.text() | st.integers() | st.floats() | st.booleans() | st.none(),
)
def test_any_value_is_read_or_is_a_row_error(kind: str, value: object) -> None:
    with contextlib.suppress(RowError):  # any other exception fails the test
        cell(kind, value)


def test_codes_that_pandas_turned_into_floats() -> None:
    assert cell("category", 3.0) == "3"
    assert cell("category", np.float32(3)) == "3"


def test_a_boolean_is_one_category_in_every_spelling() -> None:
    for value in (True, np.True_, "TRUE", "True", " true "):
        assert cell("category", value) == "true"
        assert cell("category", value, values={"TRUE": "on a weekend"}) == "TRUE"
    assert cell("text", "TRUE") == "TRUE"


@pytest.mark.parametrize("value", [pd.NaT, pd.NA, np.float32("nan"), np.datetime64("NaT")])
@pytest.mark.parametrize("kind", ["text", "category", "number", "price", "date", "history", "json"])
def test_missing_values_of_every_library(kind: str, value: object) -> None:
    assert cell(kind, value) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "x", "kind": "number", "values": {"1": "one"}},
        {"name": "x", "kind": "text", "separator": ","},
        {"name": "x", "kind": "history", "items": [{"name": "y", "kind": "history"}]},
        {"name": "x", "kind": "nothing"},
        {"name": "", "kind": "text"},
        {"name": "x", "kind": "text", "colour": "red"},
        {"name": "x", "kind": "number", "weight": -1},
    ],
)
def test_specs_that_contradict_themselves(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FieldSpec.model_validate(wrong)


def test_words_for_both_languages() -> None:
    assert Bilingual.model_validate({"en": "years", "zh": "岁"}).get("zh") == "岁"
    with pytest.raises(ValidationError):
        Bilingual.model_validate({"en": "years"})


@pytest.mark.parametrize("kind", ["number", "price"])
@pytest.mark.parametrize("cell", ["1e999", "-1e999", float("inf")])
def test_an_infinite_amount_is_the_failure_of_its_row(kind: Any, cell: Any) -> None:
    with pytest.raises(RowError, match="is not a finite number"):
        read_cell(FieldSpec(name="paid", kind=kind), cell)
