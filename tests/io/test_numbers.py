"""Numbers as people write them: the convention is determined per column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import RowError
from ecomfs.io import NumberError, decimal_mark, possible_marks, read_number, rewrite_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0,043", 0.043),
        ("9,99", 9.99),
        ("1.234,56", 1234.56),
        ("1,234.56", 1234.56),
        ("1 234,5", 1234.5),
        ("1\u202f234,5", 1234.5),
        ("1'234.5", 1234.5),
        ("1’234", 1234),
        ("1.234.567", 1234567),
        ("1,00,000", 100000),
        ("１２，５", 12.5),
        ("٣٫٥", 3.5),
        ("(1,234.50)", -1234.5),
        ("−5", -5),
        ("5-", -5),
        ("5,-", 5),
        (".5", 0.5),
        ("3e2", 300),
        ("1,5e3", 1500),
        ("12,5 %", 12.5),
        ("$-5", -5),
        ("Rs. 1,500.00", 1500),
        ("1.299,00 EUR", 1299),
        ("50 m²", 50),
        ("12,5 cm³", 12.5),
    ],
)
def test_a_number_with_one_reading_needs_no_column(text: str, value: float) -> None:
    assert read_number(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "old",
        "1.2.3",
        "1,2,3",
        "12.34.56",
        "1 2",
        "1-2",
        "--5",
        "10:30",
        "2024-01-02",
        "5,",
        "5²",
    ],
)
def test_other_text_is_no_number_under_any_convention(text: str) -> None:
    assert possible_marks(text) == ()
    for mark in ("", "comma", "point"):
        with pytest.raises(NumberError):
            read_number(text, mark)  # type: ignore[arg-type]


def test_a_cell_with_two_readings_is_read_by_its_column() -> None:
    assert read_number("1,234", "comma").value == 1.234
    assert read_number("1,234", "point").value == 1234
    with pytest.raises(NumberError) as caught:
        read_number("1,234")
    assert caught.value.unclear


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["1,234", "9,99"], "comma"),
        (["1,234", "0,043"], "comma"),
        (["1.234", "1.234.567"], "comma"),
        (["1.234", "1 234,5"], "comma"),
        (["1,234", "9.99"], "point"),
        (["1,234", "1,234,567"], "point"),
        (["1.234"], "point"),
        (["12", "5", "old", 3.5], ""),
    ],
)
def test_other_cells_of_the_column_decide(cells: list[object], mark: str) -> None:
    assert decimal_mark("price", cells) == mark
    assert decimal_mark("price", cells[::-1]) == mark


def test_a_delimiter_of_semicolons_makes_a_decimal_comma_likely() -> None:
    assert decimal_mark("price", ["1,234"], "comma") == "comma"
    with pytest.raises(RowError, match=r"'1\.234' may be 1\.234 or 1234"):
        decimal_mark("price", ["1.234"], "comma")
    assert decimal_mark("price", ["1.234", "0.5"], "comma") == "point"


@pytest.mark.parametrize("cells", [["1,234"], ["1,234", "2,345", "7"], ["1,234", "5.678"]])
def test_a_column_that_does_not_say_its_mark_is_refused_by_name(cells: list[object]) -> None:
    with pytest.raises(RowError, match=r"column 'price': '1,234' may be 1234 or 1\.234") as caught:
        decimal_mark("price", cells)
    assert "price:comma" in caught.value.hint


def test_a_column_that_mixes_marks_is_refused_by_name() -> None:
    with pytest.raises(RowError, match=r"column 'price' mixes decimal marks: '9,99' .* '9\.50'"):
        decimal_mark("price", ["9,99", "9.50", "1"])


AMOUNTS = st.decimals(-(10**9), 10**9, places=3, allow_nan=False, allow_infinity=False)


@given(AMOUNTS, st.sampled_from([",", ".", " ", "'"]), st.sampled_from(["comma", "point"]))
def test_numbers_read_back_equal_under_their_convention(amount, group, mark) -> None:  # type: ignore[no-untyped-def]
    decimal = "," if mark == "comma" else "."
    if group == decimal:
        group = "'"
    text = f"{amount:,.3f}".replace(",", "g").replace(".", decimal).replace("g", group)
    assert read_number(text, mark).value == float(amount)
    other = "point" if mark == "comma" else "comma"
    again = rewrite_number(text, mark, other)
    assert read_number(again, other).value == float(amount)
    assert len(possible_marks(again)) < 2
