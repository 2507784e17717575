"""Cells with several labels, and labels of a taxonomy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecomfs.task import (
    guess_hierarchy_separator,
    guess_label_separator,
    join_labels,
    load_task,
    read_labels,
)

NAMES = st.lists(
    st.text("abcdefg ", min_size=1, max_size=6).map(str.strip).filter(bool),
    unique=True,
    max_size=5,
)


@given(NAMES, st.sampled_from(["|", ";", ", ", "/"]))
def test_a_written_cell_of_labels_reads_back_equal(labels: list[str], separator: str) -> None:
    assert read_labels(join_labels(labels, separator), "row 1", separator) == tuple(labels)


@pytest.mark.parametrize(
    ("labels", "mark"),
    [
        (["late", "broken", "late|broken"], "|"),
        (["late;broken", "broken;dirty", "late;dirty"], ";"),
        (["late | broken", "broken | dirty", "late"], "|"),
        (["positive", "negative"], None),
        (["Bath | Body", "Home | Garden", "Toys"], None),  # a name, not a combination
        (['["late"]', '["broken"]'], None),
        (["Home > Lamps", "Home > Chairs"], None),
        ([], None),
    ],
)
def test_combinations_of_labels_are_recognised(labels: list[str], mark: str | None) -> None:
    assert guess_label_separator(labels) == mark


@pytest.mark.parametrize(
    ("labels", "mark"),
    [
        (["Home > Lamps", "Home>Chairs", "Toys > Games"], " > "),
        (["家居 › 灯", "家居 › 椅子"], " › "),
        (["Home > Lamps", "Toys"], None),
        (["a > b", "c > d"], None),  # no parent has two children
        (["price > 5", "> 5"], None),
        ([], None),
    ],
)
def test_a_taxonomy_is_recognised(labels: list[str], mark: str | None) -> None:
    assert guess_hierarchy_separator(labels) == mark


@pytest.mark.parametrize(
    ("task", "update", "message"),
    [
        ("review_sentiment", {"hierarchy": " > "}, "needs label_space: open"),
        (
            "product_category",
            {"hierarchy": " > ", "label_separator": "|"},
            "cannot be used together",
        ),
        ("product_category", {"hierarchy": " "}, "give a separator"),
        ("product_category", {"label_separator": " "}, "give a separator"),
    ],
)
def test_a_card_declares_one_of_the_two(task: str, update: dict[str, str], message: str) -> None:
    card = load_task(task)
    with pytest.raises(ValidationError, match=message):
        type(card).model_validate(card.model_dump() | update)


def test_labels_of_a_cell_are_what_the_card_says() -> None:
    card = load_task("product_category")
    several = card.model_copy(update={"label_separator": "|"})
    single = card.model_copy(update={"label_separator": ""})
    assert card.labels_of("a|b", "row 1") == single.labels_of("a|b", "row 1") == ("a|b",)
    assert several.labels_of("a|b", "row 1") == ("a", "b")
    assert (several.multi_label, single.multi_label) == (True, False)
