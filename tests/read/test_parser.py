from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.read import LabelParser
from ecomfs.task import LabelSpace, load_task

SPACE = LabelSpace.resolve(load_task("review_sentiment"), ["Positive", "Negative"])
PARSER = LabelParser(SPACE, ["A", "B"])
SHOES = LabelSpace.resolve(
    load_task("product_category"), ["Shoes", "Running Shoes", "Home & Kitchen", "手机"]
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A", "Positive"),
        (" b.", "Negative"),
        ("(A)", "Positive"),
        ("Answer: B", "Negative"),
        ("The sentiment is positive.", "Positive"),
        ("**Negative**", "Negative"),
        ("“好评”", "Positive"),
        ("情感：差评。", "Negative"),
        ("答案是：差评", "Negative"),
        ("ＮＥＧＡＴＩＶＥ！", "Negative"),
        ("\n\n  pos\nReview: more", "Positive"),
        ('"negative"', "Negative"),
        ("It is clearly a negative review", "Negative"),
        ("Ａ", "Positive"),
        ("`neg`", "Negative"),
        ("-1", "Negative"),
        ("1", "Positive"),
    ],
)
def test_tolerant(text: str, label: str) -> None:
    found = PARSER.parse(text)
    assert found is not None
    assert SPACE.names[found] == label


@pytest.mark.parametrize(
    "text",
    ["", "   ", "...", "C", "I cannot tell", "positive or negative?", "not positive", "A or B",
     "Positivity", "不是好评"],
)  # fmt: skip
def test_never_guesses(text: str) -> None:
    assert PARSER.parse(text) is None


def test_longer_labels_hide_the_shorter_ones_in_them() -> None:
    parser = LabelParser(SHOES)
    found = parser.parse("These are Running Shoes, I think")
    assert found is not None
    assert SHOES.names[found] == "Running Shoes"
    other = parser.parse("home & kitchen")
    assert other is not None
    assert SHOES.names[other] == "Home & Kitchen"


@given(st.text())
def test_arbitrary_text_gives_a_label_of_the_set_or_none(text: str) -> None:
    assert PARSER.parse(text) in (None, 0, 1)


@given(st.sampled_from(SHOES.names), st.text(" \t\"'*.。！:：「」", max_size=4), st.booleans())
def test_every_label_survives_punctuation_and_case(name: str, noise: str, upper: bool) -> None:
    text = noise + (name.upper() if upper else name) + noise
    found = LabelParser(SHOES).parse(text)
    assert found is not None
    assert SHOES.names[found] == name
