"""The experts answer leave-one-out without any influence of the example itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecomfs.embed import HashedEmbedder
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.retrieve import Retriever
from ecomfs.types import Example, Opinion

TEXTS = {
    "a": "lovely soft shirt",
    "b": "lovely warm coat",
    "c": "great soft hat",
    "d": "shirt fell apart",
    "e": "coat fell apart",
    "f": "hat fell apart soon",
    "g": "warm and great coat",
    "h": "torn hat",
}


def pool(**changed: str) -> list[Example]:
    return [
        Example(i, {"text": t}, changed.get(i, "good" if i in "abcg" else "bad"))
        for i, t in TEXTS.items()
    ]


def experts(examples: list[Example], labels: tuple[str, ...] = ("good", "bad")) -> Experts:
    texts = [str(e.fields["text"]) for e in examples]
    return Experts(Retriever(examples, texts, HashedEmbedder(256)), labels)


def ask(made: Experts, texts: list[str], **how: Any) -> list[Opinion]:
    queries = made.data.retriever.queries(texts, neighbours=NEIGHBOURS, **how)
    return made.opinions(queries)


def own_probe(made: Experts) -> np.ndarray:
    return made.leave_one_out()[0]["probe"]


@pytest.fixture
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The penalty is chosen on all labels, and one of them may change it."""
    monkeypatch.setattr("ecomfs.experts.probe.PENALTIES", (1.0,))


@pytest.mark.usefixtures("one_penalty")
def test_an_example_left_out_does_not_know_its_own_label() -> None:
    turned = pool(a="bad")
    mine = [e.fields["text"] for e in pool() if e.id == "a"]
    before = ask(experts(pool()), mine, exclude_ids=[{"a"}], leave_self_out=True)[0]
    after = ask(experts(turned), mine, exclude_ids=[{"a"}], leave_self_out=True)[0]
    assert before.scores["vote"] == after.scores["vote"]
    np.testing.assert_allclose(before.scores["probe"], after.scores["probe"], atol=1e-9)


@pytest.mark.usefixtures("one_penalty")
@pytest.mark.parametrize("how", ["copy", "rewrite", "rewrite of a rewrite"])
def test_copies_and_rewrites_do_not_reveal_its_label(how: str) -> None:
    more = {
        "copy": [Example("a2", {"text": "Lovely soft  shirt"}, "good")],
        "rewrite": [Example("a2", {"text": "a shirt, so soft"}, "good", True, "a", "rewrite")],
        "rewrite of a rewrite": [
            Example("a3", {"text": "soft shirts"}, "good", True, "a2", "rewrite"),
            Example("a2", {"text": "a shirt, so soft"}, "good", True, "a", "rewrite"),
        ],
    }[how]
    wrong = [Example(e.id, e.fields, "bad", e.synthetic, e.source_id, e.method) for e in more]
    right = own_probe(experts([*pool(), *more]))
    turned = own_probe(experts([*pool(a="bad"), *wrong]))
    np.testing.assert_allclose(right[0], turned[0], atol=1e-9)


def test_own_opinions_are_those_of_asking_for_each() -> None:
    made = experts(pool())
    scores, truth = made.leave_one_out()
    asked = ask(
        made,
        [str(e.fields["text"]) for e in pool()],
        exclude_ids=[{e.id} for e in pool()],
        leave_self_out=True,
    )
    for name, table in scores.items():
        np.testing.assert_allclose(table, [o.scores[name] for o in asked])
    assert truth.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]


def test_in_a_large_pool_a_random_sample_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    every, labels = experts(pool()).leave_one_out()
    monkeypatch.setattr("ecomfs.experts.expert.LEAVE_ONE_OUT_EXAMPLES", 3)
    made = experts(pool())
    scores, truth = made.leave_one_out()
    places = made.data.places
    assert len(places) == 3
    assert truth.tolist() == labels[places].tolist()
    for name, table in scores.items():
        np.testing.assert_allclose(table, every[name][places])


def test_the_sample_does_not_follow_labels_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecomfs.experts.expert.LEAVE_ONE_OUT_EXAMPLES", 20)
    examples = [Example(str(i), {"text": f"n {i}"}, "good" if i % 2 else "bad") for i in range(40)]
    assert set(experts(examples).leave_one_out()[1].tolist()) == {0, 1}


def test_synthetic_examples_are_no_queries() -> None:
    made = Example("s", {"text": "a shirt, so soft"}, "good", True, "a", "rewrite")
    assert len(experts([*pool(), made]).leave_one_out()[1]) == len(pool())


def test_another_row_is_not_given_the_score_of_an_excluded_example() -> None:
    made = experts(pool())
    free = ask(made, ["torn hat"])[0]
    held = ask(made, ["torn hat"], exclude_ids=[{"a"}], leave_self_out=True)[0]
    assert held.scores["probe"] == free.scores["probe"]


def test_labels_without_examples_are_unlikely_and_not_impossible() -> None:
    opinion = ask(experts(pool(), ("good", "neutral", "bad")), ["torn shirt"])[0]
    vote = np.exp(opinion.scores["vote"])
    assert 0 < vote[1] < min(vote[0], vote[2])
    assert opinion.scores["probe"][1] == pytest.approx(0)
    assert vote.sum() == pytest.approx(1)
