from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.task import LabelSpace, load_task

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


def test_unknown_label_names_where_and_the_mend() -> None:
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


def test_underscores_of_labels_only_the_pool_knows_read_as_spaces() -> None:
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
