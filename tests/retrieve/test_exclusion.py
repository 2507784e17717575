"""Texts equal to the query, and examples derived from it, are left out."""

from __future__ import annotations

import pytest

from ecomfs.embed import HashedEmbedder
from ecomfs.retrieve import Retriever
from ecomfs.retrieve.retriever import DuplicateFinder
from ecomfs.types import Example

ROWS = [
    Example("a", {"text": "arrived late"}, "bad"),
    Example("b", {"text": "soft and warm"}, "good"),
    Example("a1", {"text": "came a week too late"}, "bad", True, "a", "rewrite"),
    Example("a2", {"text": "delivery was slow"}, "bad", True, "a", "rewrite"),
    Example("c", {"text": "broke at once"}, "bad"),
    Example("x", {"text": "fell apart"}, "bad", True, "other.csv:a", "borrow"),
]


def shown(query: str, **options: object) -> set[str]:
    texts = [str(e.fields["text"]) for e in ROWS]
    retriever = Retriever(ROWS, texts, HashedEmbedder(256), strategy="top_k")
    (found,) = retriever.retrieve([query], len(ROWS), **options)  # type: ignore[arg-type]
    return {d.example.id for d in found}


@pytest.mark.parametrize("id_", ["a", "a1"])
def test_an_id_excludes_its_rewrites_and_their_source(id_: str) -> None:
    assert shown("late", exclude_ids=[{id_}]) == {"b", "c", "x"}


def test_a_text_excludes_its_rewrites_and_their_source() -> None:
    assert shown("Arrived late!", leave_self_out=True) == {"b", "c", "x"}
    assert shown("Delivery was slow", leave_self_out=True) == {"b", "c", "x"}


def test_others_are_alone() -> None:
    assert shown("warm", exclude_ids=[{"b"}]) == {"a", "a1", "a2", "c", "x"}
    assert shown("warm", exclude_ids=[{"x"}]) == {"a", "a1", "a2", "b", "c"}
    assert shown("warm") == {"a", "a1", "a2", "b", "c", "x"}


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
