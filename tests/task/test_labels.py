from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.task import Label, LabelSpace, TaskCard, label_number, lint_card, load_task, plain_key

SENTIMENT = load_task("review_sentiment")
CATEGORY = load_task("product_category")


@pytest.mark.parametrize(
    ("spellings", "names"),
    [
        (["Positive", "Negative"], ("Positive", "Negative")),
        (["差评", "好评", "差评"], ("好评", "差评")),
        (["1", "0"], ("1", "0")),
        (["neg", "POS", "neutral"], ("POS", "neg", "neutral")),
    ],
)
def test_closed_space_keeps_the_pools_spelling(
    spellings: list[str], names: tuple[str, ...]
) -> None:
    assert LabelSpace.resolve(SENTIMENT, spellings).names == names


def test_two_spellings_of_one_label_are_one_label() -> None:
    space = LabelSpace.resolve(SENTIMENT, ["positive", "negative", "pos", "好评"])
    assert space.names == ("positive", "negative")
    assert space.index("好评") == space.index(" Pos ") == 0


def test_optional_label_needs_the_pool() -> None:
    assert "neutral" not in LabelSpace.resolve(SENTIMENT, ["positive", "negative"]).names


def test_an_unknown_label_is_an_error_with_place_and_hint() -> None:
    with pytest.raises(UnknownLabelError, match=r"pool\.csv.*'possitive'.*did you mean 'positive'"):
        LabelSpace.resolve(SENTIMENT, ["possitive", "negative"], "pool.csv")


def test_one_label_pool_is_an_error() -> None:
    with pytest.raises(PoolError, match="all labelled examples have the label 'positive'"):
        LabelSpace.resolve(SENTIMENT, ["positive", "positive"])


def test_open_task_without_examples_has_no_labels() -> None:
    with pytest.raises(PoolError, match="takes its labels from them"):
        LabelSpace.resolve(CATEGORY, [])


def test_closed_task_works_without_examples() -> None:
    assert LabelSpace.resolve(SENTIMENT, []).names == ("positive", "negative")


def test_labels_without_letters_are_told_apart() -> None:
    space = LabelSpace.resolve(CATEGORY, ["+", "-", "C++", "C"])
    assert [space.index(s) for s in space.names] == list(range(4))
    assert space.index("c++") == space.index("C++") != space.index("C")


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=12, unique=True))
def test_open_space_finds_every_own_label(labels: list[str]) -> None:
    try:
        space = LabelSpace.resolve(CATEGORY, labels)
    except PoolError:  # all of them are one label under case and width
        return
    for position, name in enumerate(space.names):
        assert space.index(name) == position
    for label in labels:
        assert space.index(label) is not None


def test_underscores_of_labels_without_a_card_entry_read_as_spaces() -> None:
    space = LabelSpace.resolve(CATEGORY, ["card_arrival", "Top_up", "Top up", "_"])
    words = {label.name: label.word("en") for label in space.labels}
    # "Top_up" and "Top up" would read the same: they stay apart.
    assert words == {
        "card_arrival": "card arrival",
        "Top_up": "Top_up",
        "Top up": "Top up",
        "_": "_",
    }
    assert space.names[space.require("card arrival", "answer")] == "card_arrival"


def test_two_pool_labels_never_share_one_entry_of_the_card() -> None:
    card = load_task("customer_intent")
    space = LabelSpace.resolve(card, ["取消", "cancel_order", "invoice_request"])
    words = {label.name: label.word("zh") for label in space.labels}
    assert words == {"cancel_order": "取消订单", "invoice_request": "索要发票", "取消": "取消"}


def label_space_of(*names: str) -> LabelSpace:
    return LabelSpace([Label(name) for name in names])


@pytest.mark.parametrize(
    ("names", "spelling", "means"),
    [
        (("1", "2", "10"), "1.0", "1"),
        (("1", "2", "10"), "10.00", "10"),
        (("1", "2", "10"), "-1", None),
        (("1", "2", "10"), "10%", None),
        (("12", "3"), "1/2", None),
        (("1.0", "0.0"), "1", "1.0"),
        (("0.5", "1"), ".50", "0.5"),
        (("7", "8"), "007", None),
        (("A", "B"), "A+++", None),
        (("A", "A+++"), "A++", None),
        (("C", "B"), "C#", None),
        (("C#", "B"), "c#", "C#"),
        (("35mm", "5mm"), "3.5mm", None),
        (("M2", "L2"), "M²", None),
        (("1", "2"), "①", None),
        (("1/2", "1"), "½", None),
        (("C++", "C"), "c++", "C++"),
        (("Yahoo!", "x"), "yahoo", None),
        (("+", "-"), "-", "-"),
        (("👍", "👎"), "👍", "👍"),
        (("👍", "👎"), "👍🏽", None),
        (("true", "false"), "True", "true"),
        (("Ａ級", "B"), "A級", "Ａ級"),
        (("card_arrival", "x"), "cardarrival", None),
    ],
)
def test_matching_never_drops_a_character_that_carries_meaning(
    names: tuple[str, ...], spelling: str, means: str | None
) -> None:
    space = label_space_of(*names)
    found = space.index(spelling)
    assert (None if found is None else space.names[found]) == means


@pytest.mark.parametrize(
    "pair",
    [
        ("Apple", "apple"),
        ("polish", "Polish"),
        ("M²", "M2"),
        ("1", "1.0"),
        ("ＡＢ", "AB"),
        ("é", "e\u0301"),
        ("ß", "ss"),
        ("a b", "ab"),
        ("Top_up", "Top up"),
    ],
)
def test_pool_labels_that_differ_in_case_width_or_form_stay_two(pair: tuple[str, str]) -> None:
    space = LabelSpace.resolve(CATEGORY, [*pair, "third"])
    assert set(space.names) == {*pair, "third"}
    assert [space.names[space.require(name, "")] for name in pair] == list(pair)
    assert not space.merged


@pytest.mark.parametrize(
    ("names", "spelling"), [(("Apple", "apple"), "APPLE"), (("1", "1.0"), "1.00")]
)
def test_a_spelling_between_two_labels_is_neither(names: tuple[str, str], spelling: str) -> None:
    assert label_space_of(*names).index(spelling) is None
    with pytest.raises(UnknownLabelError, match="unknown label"):
        label_space_of(*names).require(spelling, "gold.csv")


def test_several_labels_in_one_cell_are_named_as_such() -> None:
    with pytest.raises(UnknownLabelError) as caught:
        label_space_of("good", "bad").require("bad|late", "pool.csv, line 2")
    assert "if these are several labels, set label_separator" in caught.value.hint


def test_spellings_of_a_closed_label_are_one_label_and_undeclared_ones_are_reported() -> None:
    declared = LabelSpace.resolve(SENTIMENT, ["positive", "pos", "negative"])
    assert (declared.names, declared.merged) == (("positive", "negative"), {})
    space = LabelSpace.resolve(SENTIMENT, ["Positive", "positive", "1.0", "negative"])
    assert space.names == ("Positive", "negative")
    assert space.merged == {"Positive": ("positive", "1.0")}


def test_labels_of_one_card_may_differ_in_case_but_an_alias_may_not() -> None:
    words = {"definition": {"en": "x", "zh": "x"}}
    labels = [
        {"name": "polish", "words": {"en": "polish", "zh": "擦亮"}, **words},
        {"name": "Polish", "words": {"en": "Polish", "zh": "波兰语"}, **words},
    ]
    card = TaskCard.model_validate(SENTIMENT.model_dump() | {"labels": labels, "positive": None})
    space = LabelSpace.resolve(card, ["Polish", "polish"])
    assert space.names == ("polish", "Polish")
    assert space.index("POLISH") is None
    assert [f.what for f in lint_card(card)] == [
        "'Polish' differs from 'polish' of 'polish' in case or width only"
    ]
    labels[1] |= {"aliases": ["POLISH"]}
    with pytest.raises(ValidationError, match="share the spelling 'POLISH'"):
        TaskCard.model_validate(SENTIMENT.model_dump() | {"labels": labels, "positive": None})


def test_labels_come_in_numpys_order() -> None:
    names = [str(n) for n in range(1, 11)]
    assert LabelSpace.resolve(CATEGORY, sorted(names)).names == tuple(names)
    assert LabelSpace.resolve(CATEGORY, ["b", "10", "9"]).names == ("10", "9", "b")


def test_a_label_of_the_pool_that_reads_as_another_keeps_its_own_words() -> None:
    card = load_task("customer_intent")
    space = LabelSpace.resolve(card, ["cancel order", "cancel_order", "Cancel_Order"])
    words = [label.word("en") for label in space.labels]
    assert len(set(words)) == 3


@given(
    st.lists(st.text(max_size=6).filter(str.strip), min_size=2, max_size=20),
    st.text(max_size=6) | st.integers().map(str) | st.floats().map(str),
    st.sampled_from([CATEGORY, load_task("customer_intent")]),
)
def test_no_two_labels_are_merged_and_every_match_has_a_reason(
    labels: list[str], spelling: str, card: TaskCard
) -> None:
    distinct = {label.strip() for label in labels}
    if len(distinct) < 2:
        return
    space = LabelSpace.resolve(card, labels)
    assert set(space.names) == distinct
    for text in (*labels, *map(str.upper, labels), *map(str.lower, labels), spelling):
        at = space.index(text)
        likely = [i for i, label in enumerate(space.labels) if means(label, text.strip())]
        if text.strip() in distinct:
            assert at is not None
            assert space.names[at] == text.strip()
        elif at is None:
            assert len(likely) != 1
        else:
            assert at in likely


def means(label: Label, text: str) -> bool:
    number = label_number(text)
    return any(
        text == own.strip()
        or (number is not None and number == label_number(own.strip()))
        or (bool(text) and plain_key(text) == plain_key(own))
        for own in label.spellings()
    )
