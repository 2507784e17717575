"""The cheap experts answer leave-one-out without a trace of the example itself."""

from __future__ import annotations

import numpy as np
import pytest

from ecomfs.embed import HashedEmbedder
from ecomfs.experts import Experts
from ecomfs.retrieve import Retriever
from ecomfs.types import Example

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


@pytest.fixture
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The penalty is chosen on all labels, and one of them may change it."""
    monkeypatch.setattr("ecomfs.experts.probe.PENALTIES", (1.0,))


@pytest.mark.usefixtures("one_penalty")
def test_an_example_left_out_does_not_know_its_own_label() -> None:
    turned = pool(a="bad")
    mine = [e.fields["text"] for e in pool() if e.id == "a"]
    before = experts(pool()).opinions(mine, exclude_ids=[{"a"}], leave_self_out=True)[0]
    after = experts(turned).opinions(mine, exclude_ids=[{"a"}], leave_self_out=True)[0]
    assert before.vote == after.vote
    np.testing.assert_allclose(before.probe, after.probe, atol=1e-9)


@pytest.mark.usefixtures("one_penalty")
@pytest.mark.parametrize("how", ["copy", "rewrite", "rewrite of a rewrite"])
def test_nor_do_its_copies_and_rewrites_tell_it(how: str) -> None:
    more = {
        "copy": [Example("a2", {"text": "Lovely soft  shirt"}, "good")],
        "rewrite": [Example("a2", {"text": "a shirt, so soft"}, "good", True, "a", "rewrite")],
        "rewrite of a rewrite": [
            Example("a3", {"text": "soft shirts"}, "good", True, "a2", "rewrite"),
            Example("a2", {"text": "a shirt, so soft"}, "good", True, "a", "rewrite"),
        ],
    }[how]
    wrong = [Example(e.id, e.fields, "bad", e.synthetic, e.source_id, e.method) for e in more]
    right = experts([*pool(), *more]).probe.own
    turned = experts([*pool(a="bad"), *wrong]).probe.own
    np.testing.assert_allclose(right[0], turned[0], atol=1e-9)


def test_own_opinions_are_those_of_asking_for_each() -> None:
    made = experts(pool())
    votes, scores, truth = made.own()
    asked = made.opinions(
        [str(e.fields["text"]) for e in pool()],
        exclude_ids=[{e.id} for e in pool()],
        leave_self_out=True,
    )
    np.testing.assert_allclose(votes, [o.vote for o in asked])
    np.testing.assert_allclose(scores, [o.probe for o in asked])
    assert truth.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]


def test_of_a_large_pool_a_sample_speaks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecomfs.experts.experts.OWN_EXAMPLES", 3)
    made = experts(pool())
    votes, scores, truth = made.own()
    assert truth.tolist() == [0, 1, 0]  # every third
    np.testing.assert_allclose(scores, made.probe.own[::3])
    assert votes.shape == (3, 2)


def test_synthetic_examples_are_no_queries() -> None:
    made = Example("s", {"text": "a shirt, so soft"}, "good", True, "a", "rewrite")
    assert len(experts([*pool(), made]).own()[2]) == len(pool())


def test_another_row_is_not_given_the_score_of_an_excluded_example() -> None:
    made = experts(pool())
    free = made.opinions(["torn hat"])[0]
    held = made.opinions(["torn hat"], exclude_ids=[{"a"}], leave_self_out=True)[0]
    assert held.probe == free.probe


def test_labels_without_examples_are_unlikely_and_not_impossible() -> None:
    opinion = experts(pool(), ("good", "neutral", "bad")).opinions(["torn shirt"])[0]
    assert 0 < opinion.vote[1] < min(opinion.vote[0], opinion.vote[2])
    assert opinion.probe[1] == pytest.approx(0)
    assert sum(opinion.vote) == pytest.approx(1)
