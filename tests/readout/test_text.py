from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.readout import LabelParser
from ecomfs.task import Label, LabelSpace, load_task

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
    [
        "",
        "   ",
        "...",
        "C",
        "I cannot tell",
        "positive or negative?",
        "not positive",
        "A or B",
        "Positivity",
        "不是好评",
    ],
)
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


@pytest.mark.parametrize(
    ("names", "text", "means"),
    [
        (("C", "C#"), "**C#**.", "C#"),
        (("C", "C#"), "the answer is C#.", "C#"),
        (("C", "C#"), "`C`", "C"),
        (("C", "B"), "C#", None),
        (("1", "-1"), "Answer: -1.", "-1"),
        (("1", "2"), "-1", None),
        (("1", "2"), "– 1", None),
        (("1", "-1"), "- 1", None),
        (("5", "2"), "(.5)", None),
        (("1", "2"), "1.0", "1"),
        (("10", "12"), "10%", None),
        (("10", "12"), "1/2", None),
        (("A", "A+"), "(A+)", "A+"),
        (("A", "B"), "A-", None),
        (("AA", "AB"), "I say AA+ here", None),
        (("5mm", "35mm"), "it is 3.5mm", None),
        (("5mm", "35mm"), "it is 35mm.", "35mm"),
        (("good", "bad"), "non-good", None),
        (("good", "bad"), "- good", "good"),
        (("Yahoo", "Yahoo!"), '"Yahoo!".', "Yahoo!"),
        (("Yahoo", "Yahoo!"), '"Yahoo".', "Yahoo"),
        (("polish", "Polish"), "Answer: Polish", "Polish"),
        (("polish", "Polish"), "POLISH", None),
        (("polish", "Polish"), "I would say polish", None),
        (("M²", "M2"), "M²!", "M²"),
        (("cm", "km"), "it is cm² there", None),
    ],
)
def test_a_sign_or_a_case_that_is_the_whole_difference_decides(
    names: tuple[str, ...], text: str, means: str | None
) -> None:
    found = LabelParser(LabelSpace([Label(name) for name in names])).parse(text)
    assert (None if found is None else names[found]) == means


@given(
    st.lists(st.text("aA1²+-#%.!", min_size=1, max_size=4), min_size=2, max_size=8, unique=True),
    st.sampled_from(["", " ", '"', "**", "。", "「"]),
)
def test_the_exact_one_of_similar_labels_is_chosen(names: list[str], around: str) -> None:
    parser = LabelParser(LabelSpace([Label(name) for name in names]))
    for position, name in enumerate(names):
        assert parser.parse(around + name + around) in (position, None)
        assert parser.parse(name) == position


@pytest.mark.parametrize(
    "text",
    [
        "This isn’t positive.",
        "It doesn't seem positive",
        "I can't say that it is negative",
        "I cannot call it positive",
        "It is never positive",
        "The review is far from positive",
        "这条评论不算正面",
        "不属于负面",
        "没有正面的内容",
    ],
)
def test_a_label_that_is_denied_is_no_answer(text: str) -> None:
    space = LabelSpace.resolve(load_task("review_sentiment"), [])
    assert LabelParser(space, ["positive", "negative"]).parse(text) is None


def test_a_label_that_denies_is_an_answer() -> None:
    labels = ["relevant", "not relevant"]
    parser = LabelParser(LabelSpace([Label(name) for name in labels]), labels)
    found = [
        "The product is not relevant to the query",
        "I would say relevant",
        "It isn't relevant",
    ]
    assert [parser.parse(text) for text in found] == [1, 0, None]
