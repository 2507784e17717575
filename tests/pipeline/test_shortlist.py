"""Of many labels, the few that the experts find likeliest: which they are, and what the others
keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.experts import Experts
from ecomfs.pipeline import LabelShortlist
from ecomfs.retrieve import Retriever
from ecomfs.types import Example, Opinion, Posterior

# Far enough apart that the weights of the experts do not make two of them equal.
SCORES = st.integers(3, 12).flatmap(
    lambda n: st.lists(
        st.integers(-900, 0).map(lambda score: score / 100), min_size=n, max_size=n, unique=True
    )
)


@given(SCORES, st.integers(2, 5))
def test_the_likeliest_labels_are_chosen_in_the_order_of_the_label_space(
    scores: list[float], size: int
) -> None:
    (places,) = LabelShortlist(size, 0.9).choose([Opinion({"vote": tuple(scores)})])
    assert list(places) == sorted(np.argsort(scores)[::-1][:size])


@given(SCORES, st.floats(0, 1), st.data())
def test_labels_off_the_list_share_what_its_recall_leaves(
    scores: list[float], recall: float, data: st.DataObject
) -> None:
    n = len(scores)
    places = data.draw(st.lists(st.integers(0, n - 1), unique=True, min_size=1, max_size=n - 1))
    read = np.random.default_rng(n).dirichlet(np.ones(len(places)))
    whole = LabelShortlist(len(places), recall).widen(Posterior(tuple(read)), places, n)
    p = np.array(whole.probabilities)
    assert p.sum() == pytest.approx(1)
    assert p[places] == pytest.approx(recall * read)
    rest = np.delete(p, places)
    assert rest == pytest.approx(np.full(len(rest), (1 - recall) / len(rest)))


def test_what_was_not_read_and_what_has_all_labels_stays() -> None:
    shortlist = LabelShortlist(2, 0.5)
    unread, whole = Posterior(()), Posterior((0.25, 0.75))
    assert shortlist.widen(unread, (0, 1), 3) is unread
    assert shortlist.widen(whole, (0, 1), 2) is whole
    assert shortlist.choose([]) == []


def experts(labels: list[str]) -> Experts:
    texts = [f"{label} number {i}" for i, label in enumerate(labels)]
    pool = [Example(str(i), {"text": texts[i]}, label) for i, label in enumerate(labels)]
    return Experts(Retriever(pool, texts, HashedEmbedder()), list(dict.fromkeys(labels)))


def test_the_recall_is_measured_and_never_certain_nor_below_chance() -> None:
    names = [f"label{i}" for i in range(6)]
    easy = LabelShortlist.fit(experts(names * 5), 3)
    assert 3 / 6 <= easy.recall < 1
    # No label has two examples: nothing is known of it.
    assert LabelShortlist.fit(experts(names), 2).recall == 0.5
    assert LabelShortlist.fit(experts(names), 4).recall == 4 / 6
