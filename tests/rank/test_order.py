"""Candidates ordered by P(like), with a scripted engine."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranked import fitted
from scripted import ScriptedEngine

from ecomfs.errors import ConfigError, EngineUnavailableError, UnknownLabelError
from ecomfs.estimators import FewShotClassifier
from ecomfs.rank import rank
from ecomfs.rank.order import rank_order
from ecomfs.types import Status

USERS = [{"user": "u1", "liked": '["Chess", "Item 3!"]'}, {"user": "u2", "liked": '["Tea"]'}]
ITEMS = [{"item_id": f"c{i}", "title": f"item {i}"} for i in range(8)]


def test_scores_are_those_of_the_pairs_in_descending_order() -> None:
    clf = fitted()
    [first, second] = rank(clf, USERS, ITEMS, top=None)
    assert first.user.id == "u1"
    assert (first.candidates, first.seen, first.failed) == (7, 1, 0)
    assert (second.candidates, second.seen) == (8, 0)
    scores = [r.score for r in second.items]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert [r.rank for r in second.items] == list(range(1, 9))
    for found, user in ((first, USERS[0]), (second, USERS[1])):
        for r in found.items:
            pair = {
                "liked": user["liked"],
                "disliked": "",
                "history": "",
                "item": r.item.fields["item"],
            }
            [alone] = clf.classify([pair])
            assert r.score == pytest.approx(alone.probabilities["Yes"])


def test_top_is_the_beginning_of_the_whole_list() -> None:
    clf = fitted()
    whole = rank(clf, USERS, ITEMS, top=None)
    for short, long in zip(rank(clf, USERS, ITEMS, top=3), whole, strict=True):
        assert short.items == long.items[:3]
        assert short.candidates == long.candidates


def test_items_of_the_history_can_be_kept() -> None:
    [first, _] = rank(fitted(), USERS, ITEMS, top=None, keep_seen=True)
    assert (first.candidates, first.seen) == (8, 0)
    assert "c3" in {r.item.id for r in first.items}


def test_another_label_reverses_the_order_of_two() -> None:
    clf = fitted()
    likes = rank(clf, USERS, ITEMS, top=None)[1]
    hates = rank(clf, USERS, ITEMS, top=None, positive="dislike")[1]  # the pool writes No
    assert [r.item.id for r in hates.items] == [r.item.id for r in likes.items][::-1]


def test_a_candidate_that_fails_stays_at_the_end_with_its_error() -> None:
    for top in (2, None):
        [_, second] = rank(fitted(ScriptedEngine(fails_on="item 5")), USERS, ITEMS, top=top)
        last = second.items[-1]
        assert (last.item.id, last.rank, last.score) == ("c5", None, None)
        assert last.prediction.status == Status.FAILED
        assert "no answer for this prompt" in last.prediction.error
        assert second.failed == 1
        assert len(second.items) == (3 if top else 8)


def test_every_item_already_seen_is_an_empty_list() -> None:
    [one] = rank(fitted(), {"liked": ["item 0"]}, ITEMS[:1])
    assert (one.items, one.candidates, one.seen) == ((), 0, 1)


def test_fields_of_the_classifier_name_the_columns() -> None:
    clf = fitted()
    clf.set_params(fields={"item": "what"})
    [one] = rank(clf, {"liked": ["x"]}, [{"what": "Go"}])
    assert one.items[0].item.fields == {"item": "Go"}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"top": 0}, ConfigError, "top = 0 (use 1 or more)"),
        ({"positive": "love"}, UnknownLabelError, "the positive label: unknown label 'love'"),
    ],
)
def test_wrong_options(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        rank(fitted(), USERS, ITEMS, **options)
    assert message in str(caught.value)


def test_a_task_without_a_positive_label_asks_for_one() -> None:
    clf = FewShotClassifier(
        "product_category", ScriptedEngine(), embedder="hashed", calibration_size=0
    ).fit(["cup", "shirt"], ["home", "clothes"])
    with pytest.raises(ConfigError, match="names no positive label"):
        rank(clf, {"history": "x"}, [{"title": "mug"}])


def test_an_engine_that_is_gone_stops() -> None:
    engine = ScriptedEngine()
    clf = fitted(engine)
    engine.gone = True
    with pytest.raises(EngineUnavailableError):
        rank(clf, USERS, ITEMS)


@given(st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12))
def test_places_are_a_stable_descending_order(scores: list[float | None]) -> None:
    order = rank_order(scores)
    assert sorted(order) == list(range(len(scores)))
    known = [i for i in order if scores[i] is not None]
    assert order[: len(known)] == known
    for a, b in itertools.pairwise(known):
        x, y = scores[a], scores[b]
        assert x is not None
        assert y is not None
        assert x > y or (x == y and a < b)
