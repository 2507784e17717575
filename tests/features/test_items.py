"""The items of a history."""

from __future__ import annotations

from typing import Any

import pytest

from ecomfs.features.items import item_day, item_kind, item_numbers, item_texts, match_key
from ecomfs.task import FieldSpec

PLAIN = FieldSpec(name="history", kind="history")
DESCRIBED = FieldSpec(
    name="history",
    kind="history",
    items=[
        FieldSpec(name="title", kind="text", aliases=["name"]),
        FieldSpec(name="paid", kind="price"),
        FieldSpec(name="day", kind="date"),
    ],
)


@pytest.mark.parametrize(
    ("item", "texts"),
    [
        ("  red   bag ", ["red bag"]),
        (7, ["7"]),
        (None, []),
        ({"title": "mug", "price": 3, "sold": True}, ["mug"]),
        ({}, []),
    ],
)
def test_texts_of_items_that_no_card_describes(item: Any, texts: list[str]) -> None:
    assert item_texts(PLAIN, item) == texts
    assert item_kind(PLAIN, item) == (texts or [""])[0]


def test_a_described_item_has_the_parts_of_the_card_alone() -> None:
    item = {"name": "mug", "paid": "$3.50", "day": "2024-05-02", "shop": "A"}
    assert item_texts(DESCRIBED, item) == ["mug"]
    assert item_numbers(DESCRIBED, item) == {"paid": 3.5}
    day = item_day(DESCRIBED, item)
    later = item_day(DESCRIBED, item | {"day": "2024-05-12"})
    assert day is not None
    assert later == day + 10


def test_a_part_that_is_not_of_its_kind_is_left_out() -> None:
    item = {"name": "mug", "paid": "dunno", "day": "soon"}
    assert item_numbers(DESCRIBED, item) == {}
    assert item_day(DESCRIBED, item) is None
    assert item_day(PLAIN, "mug") is None


def test_case_and_separators_make_no_difference_to_a_comparison() -> None:
    assert match_key("Coats & Jackets") == match_key("COATS_JACKETS") != match_key("coats")
