"""The trivial rule of a task: chosen by its fields, its direction by the labelled examples."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ecomfs.errors import ConfigError
from ecomfs.evaluation.rules import RULES, RuleAnswers, trivial_rule
from ecomfs.task import Label, LabelSpace, load_task
from ecomfs.types import Example, Row


def answered(task: str, pool: list[tuple[Row, str]], rows: list[Row]) -> tuple[list[str], Any]:
    names = list(dict.fromkeys(label for _, label in pool))
    examples = [Example(str(i), fields, label) for i, (fields, label) in enumerate(pool)]
    pipeline: Any = SimpleNamespace(
        card=load_task(task),
        retriever=SimpleNamespace(examples=examples),
        space=LabelSpace([Label(name) for name in names]),
    )
    found: RuleAnswers = trivial_rule(pipeline, rows)
    assert found.name in RULES
    assert found.probabilities.shape == (len(rows), len(names))
    return [names[place] for place in found.probabilities.argmax(axis=1)], found


def steps(*names: str) -> Row:
    return {"history": json.dumps(list(names))}


def test_a_history_of_labels_is_repeated() -> None:
    pool = [(steps("bags", "hats"), "hats"), (steps("hats", "bags"), "bags")] * 3
    labels, found = answered("next_category", pool, [steps("hats", "bags"), steps("socks")])
    assert (found.name, found.scored) == ("repeat_last", False)
    assert labels == ["bags", "hats"]  # socks are no label: the most frequent one


def test_a_history_of_other_things_is_not_repeated() -> None:
    pool = [(steps("search", "cart"), "hats"), (steps("search"), "bags"), (steps("x"), "bags")]
    labels, found = answered("next_category", pool, [steps("cart")])
    assert (labels, found.name) == (["bags"], "majority")


@pytest.mark.parametrize("turned", [False, True])
def test_the_label_of_the_longer_history_is_learnt_from_examples(turned: bool) -> None:
    def user(likes: int, dislikes: int) -> Row:
        return {
            "liked": json.dumps(["film"] * likes),
            "disliked": json.dumps(["film"] * dislikes),
            "item": "x",
        }

    yes, no = ("dislike", "like") if turned else ("like", "dislike")
    pool = [(user(8, 2), yes), (user(1, 9), no)] * 4
    labels, found = answered("product_preference", pool, [user(9, 0), user(0, 9)])
    assert (found.name, labels) == ("like_ratio", [yes, no])
    assert found.probabilities.max(axis=1) == pytest.approx([10 / 11, 10 / 11])


def test_two_texts_are_compared_by_their_characters() -> None:
    pool = [
        ({"query": "红杯子", "product": "红色的杯子"}, "relevant"),
        ({"query": "红杯子", "product": "花园水管"}, "irrelevant"),
    ] * 4
    rows = [{"query": "水管", "product": "水管 20 米"}, {"query": "水管", "product": "毛袜"}]
    labels, found = answered("query_relevance", pool, rows)
    assert (found.name, labels) == ("field_similarity", ["relevant", "irrelevant"])


def test_one_text_has_no_rule_but_the_majority() -> None:
    pool = [({"text": "a"}, "negative"), ({"text": "b"}, "positive"), ({"text": "c"}, "negative")]
    labels, found = answered("review_sentiment", pool, [{"text": "d"}] * 2)
    assert (found.name, labels) == ("majority", ["negative"] * 2)
    assert np.allclose(found.probabilities, [2 / 3, 1 / 3])


def test_missing_cells_are_answered_too() -> None:
    pool = [(steps("bags", "hats"), "hats"), (steps("hats", "bags"), "bags")] * 3
    labels, _ = answered("next_category", pool, [{"history": ""}, {}])
    assert labels == ["hats", "hats"]


def test_without_examples_there_is_no_rule() -> None:
    pipeline: Any = SimpleNamespace(retriever=None)
    with pytest.raises(ConfigError, match="no labelled examples"):
        trivial_rule(pipeline, [])
