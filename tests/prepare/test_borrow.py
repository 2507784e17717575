"""Examples that were labelled for another task, or in the other language."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from writing import Writer, checks

from ecomfs.core import event_loop
from ecomfs.errors import ConfigError, UnknownLabelError
from ecomfs.prepare.augment import Augmented, RareLabel, borrow, map_fields, map_labels
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Example

CARD = load_task("review_sentiment")
SPACE = LabelSpace.resolve(CARD, ["positive", "negative"])
LABELS = {"liked": "positive", "returned": "negative"}


def lend(rows: Sequence[tuple[str, str]], *needs: RareLabel) -> Augmented:
    examples = [Example(f"b{i}", {"title": t}, y) for i, (t, y) in enumerate(rows)]
    found = checks(Writer(lambda source, seed: ""))
    fields = {"text": "title"}
    return event_loop.run(
        borrow(found, examples, LABELS, fields, "titles:other.csv", needs or None)
    )


def test_borrowed_examples_that_the_classifier_confirms_are_kept_and_marked() -> None:
    result = lend([("拉链第二天就坏了，再也不买这家的包", "returned")])
    (made,) = result.kept
    assert made.fields == {"text": "拉链第二天就坏了，再也不买这家的包"}
    assert (made.label, made.synthetic) == ("negative", True)
    assert (made.source_id, made.method) == ("titles:other.csv:b0", "borrow")


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ("the wheel broke on the first trip", "liked", "other_label"),
        ("a suitcase with four wheels and two locks", "returned", "unsure"),
        ("our new tent works very well, we like it a lot!", "liked", "near_copy"),
        ("broke", "returned", "length"),
        ("🙂", "liked", "empty"),
        ("the wheel broke on the first trip", "kept", "no_label"),
    ],
)
def test_each_check_has_its_reason(text: str, label: str, reason: str) -> None:
    (candidate,) = lend([(text, label)]).candidates
    assert candidate.reason == reason


def test_rare_labels_take_as_many_as_they_lack() -> None:
    rows = [
        ("the wheel is fine and rolls, I suppose so", "returned"),  # unsure: the next one is asked
        ("a wheel broke on the first trip", "returned"),
        ("soup leaks out of the flask in my bag", "returned"),
        ("a wonderful suitcase, I love it", "liked"),
    ]
    result = lend(rows, RareLabel("negative", 3, 4))
    assert [(c.example.source_id[-2:], c.reason) for c in result.candidates] == [
        ("b0", "unsure"),
        ("b1", ""),
        ("b2", "not_needed"),
        ("b3", "not_needed"),
    ]


def test_synthetic_examples_are_not_lent() -> None:
    made = Example("s", {"title": "a wheel broke on the first trip"}, "returned", synthetic=True)
    found = checks(Writer(lambda source, seed: ""))
    result = event_loop.run(borrow(found, [made], LABELS, {"text": "title"}, "t:f"))
    assert [c.reason for c in result.candidates] == ["not_needed"]


def test_labels() -> None:
    assert map_labels({"liked": "pos"}, ["liked", "差评", "x"], SPACE, "o.csv") == {
        "liked": "positive",
        "差评": "negative",
    }
    with pytest.raises(UnknownLabelError, match=r"o\.csv has no label 'lked'") as caught:
        map_labels({"lked": "positive"}, ["liked"], SPACE, "o.csv")
    assert "liked" in caught.value.hint
    with pytest.raises(UnknownLabelError, match="--map liked=postive: unknown label 'postive'"):
        map_labels({"liked": "postive"}, ["liked"], SPACE, "o.csv")
    with pytest.raises(UnknownLabelError, match="none of its labels"):
        map_labels({}, ["liked"], SPACE, "o.csv")


def test_fields() -> None:
    pair, title = load_task("query_relevance"), load_task("product_category")
    assert map_fields(pair, pair) == {"query": "query", "product": "product"}
    assert map_fields(CARD, pair, {"text": "query"}) == {"text": "query"}
    with pytest.raises(ConfigError, match="no field for field 'query'"):
        map_fields(pair, title)
    with pytest.raises(ConfigError, match="has no field 'body'"):
        map_fields(CARD, title, {"text": "body"})
    with pytest.raises(ConfigError, match="has no field 'body'"):
        map_fields(CARD, title, {"body": "title"})
