"""Helpers for the wording of messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core.messages import did_you_mean, first_line, listed, one_line


def test_the_nearest_name_is_in_its_own_spelling() -> None:
    columns = ["Text", "Product Title", "price"]
    assert did_you_mean("product titel", columns, fold=True) == "did you mean 'Product Title'? "
    assert did_you_mean("colour", columns, fold=True) == ""
    assert did_you_mean("a", []) == ""


def test_the_first_of_names_that_differ_in_case_is_suggested() -> None:
    assert did_you_mean("textt", ["Text", "TEXT"], fold=True) == "did you mean 'Text'? "


@given(st.lists(st.sampled_from("abc"), max_size=6), st.integers(1, 6))
def test_a_list_says_when_names_are_left_out(names: list[str], most: int) -> None:
    shown = listed(names, most)
    assert shown.endswith(" …") == (len(names) > most)
    assert shown.removesuffix(" …") == ", ".join(names[:most])


@given(st.text(max_size=80))
def test_any_error_is_one_line(message: str) -> None:
    for shown in (first_line(ValueError(message)), one_line(ValueError(message), 20)):
        assert len(shown.splitlines()) <= 1
    assert len(one_line(ValueError(message), 20)) <= 20
    assert first_line(ValueError(message)) or message.strip()
