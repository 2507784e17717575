from __future__ import annotations

import pytest

from ecomfs.retrieve.duplicates import DuplicateFinder

TEXTS = ["Great shoes!", "great  SHOES", "Great shoe", "👍", "👍 ", "👎", "", "很好，下次还来！"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ＧＲＥＡＴ shoes...", (0, 1)),
        ("great shoe", (2,)),
        ("great, shoes", ()),
        ("great shoes?", ()),
        ("👍", (3, 4)),
        ("👎", (5,)),
        ("很好 下次还来", (7,)),
        ("nothing like it", ()),
        ("  ", (6,)),
    ],
)
def test_texts_that_a_reader_takes_for_the_same_are_copies(
    query: str, expected: tuple[int, ...]
) -> None:
    assert DuplicateFinder(TEXTS).find(query) == expected
