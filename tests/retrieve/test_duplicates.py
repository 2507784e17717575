from __future__ import annotations

import pytest

from ecomfs.retrieve.duplicates import DuplicateFinder

TEXTS = ["Great shoes!", "great  SHOES", "Great shoe", "👍", "👍 ", "👎", "", "很好，下次还来！"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ＧＲＥＡＴ shoes...", (0, 1)),
        ("great shoe", (2,)),
        ("👍", (3, 4)),
        ("👎", (5,)),
        ("很好 下次还来", (7,)),
        ("nothing like it", ()),
        ("  ", (6,)),
    ],
)
def test_the_same_letters_and_digits_are_the_same_text(
    query: str, expected: tuple[int, ...]
) -> None:
    assert DuplicateFinder(TEXTS).find(query) == expected
