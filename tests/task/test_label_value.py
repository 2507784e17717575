"""The rule for the value of a label is the same in ecomfs and in the harness."""

from __future__ import annotations

import enum
import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import InputError
from ecomfs.task import column_labels, label_number, label_order, label_text
from ecomfs_eval import _labels as harness
from ecomfs_eval.errors import DataError


class Mood(enum.Enum):
    GOOD = 1.0


VALUES: list[Any] = [
    "好评",
    " a ",
    "",
    "nan",
    "1.0",
    0,
    1,
    -1,
    1.0,
    -0.0,
    0.5,
    1e20,
    True,
    False,
    None,
    math.nan,
    np.int64(3),
    np.float32(2),
    np.float32(0.1),
    np.float16(0.1),
    np.float64("nan"),
    np.bool_(True),
    np.str_("x"),
    pd.NA,
    pd.NaT,
    Decimal("1.00"),
    Decimal("NaN"),
    date(2024, 5, 1),
    datetime(2024, 5, 1),
    Mood.GOOD,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_harness_has_the_same_rule(value: Any) -> None:
    assert harness.label_text(value) == (label_text(value) or "")


@given(st.one_of(st.text(), st.integers(), st.floats(allow_infinity=False), st.none()))
def test_the_harness_has_the_same_rule_for_any_value(value: Any) -> None:
    assert harness.label_text(value) == (label_text(value) or "")


@given(st.lists(st.one_of(st.text(max_size=4), st.integers().map(str), st.floats().map(str))))
def test_the_harness_has_the_same_numbers_order_and_columns(labels: list[str]) -> None:
    assert [harness.label_number(x) for x in labels] == [label_number(x) for x in labels]
    assert harness.label_order(labels) == label_order(labels)
    try:
        found = [label or "" for label in column_labels(labels)]
    except InputError:
        with pytest.raises(DataError, match="infinite"):
            harness.column_labels(labels, labels)
    else:
        assert harness.column_labels(labels, labels) == found


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float64("inf")])
def test_an_infinite_number_is_no_label(value: float) -> None:
    for rule, error in ((label_text, InputError), (harness.label_text, DataError)):
        with pytest.raises(error, match="infinite number"):
            rule(value)


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_come_in_numpys_order(values: list[float]) -> None:
    labels = {text for value in values if (text := label_text(value))}
    exact = [Decimal(label) for label in label_order(labels)]
    assert exact == sorted(exact)


def test_text_comes_in_numpys_order() -> None:
    labels = ["b", "a10", "a9", "B", "好", "10", "9"]
    assert label_order(labels) == np.sort(np.array(labels)).tolist()


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_label_of_a_number_is_that_number(value: float) -> None:
    text = label_text(value)
    assert text is not None
    number = label_number(text)
    assert number is not None
    assert float(number) == float(value)


@pytest.mark.parametrize(
    "text", ["", "-", ".", "1.", "1,0", "10%", "1/2", "007", "1e3", "½", "²", "１", "+", "0x1"]
)
def test_codes_fractions_and_signs_are_no_numbers(text: str) -> None:
    assert label_number(text) is None


def test_nan_among_numbers_is_missing_and_elsewhere_a_word() -> None:
    assert column_labels(["1", "nan", "NaN", "0"]) == ["1", None, None, "0"]
    assert column_labels(["nan", "roti", ""]) == ["nan", "roti", None]
    assert column_labels(["nan", "nan"]) == ["nan", "nan"]  # nothing says that it is a number
    assert column_labels(["NA", "inf", "x"]) == ["NA", "inf", "x"]
    with pytest.raises(InputError, match=r"p.csv, line 3, column 'y': 'inf' is an infinite"):
        column_labels(["1", "inf"], ["p.csv, line 2", "p.csv, line 3"], "y")


@pytest.mark.parametrize(
    "value", [object(), 1j, len, Mood], ids=["object", "complex", "function", "class"]
)
def test_an_object_without_a_text_is_no_label_here_nor_in_the_harness(value: Any) -> None:
    with pytest.raises(InputError, match=r"row 7: .* is of type"):
        label_text(value, "row 7")
    with pytest.raises(DataError, match=r"row 7: .* is of type"):
        harness.label_text(value, "row 7")


def test_a_float_of_few_bits_is_the_digits_that_it_is_written_with() -> None:
    assert label_text(np.float32(0.1)) == label_text(0.1) == "0.1"
