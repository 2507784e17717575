"""The neighbours' vote and the model, combined per label."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine

from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.estimators.multilabel.neighbours import evidence, fit_cells, shares, vote
from ecomfs.estimators.multilabel.prompts import NO, YES
from ecomfs.retrieve import Hits

WORDS = {"late": "came late by days", "broken": "arrived broken in two", "rude": "staff was rude"}


def complaints(first: int, count: int) -> tuple[list[str], list[frozenset[str]]]:
    names = list(WORDS)
    texts, sets = [], []
    for n in range(first, first + count):
        own = frozenset(name for bit, name in enumerate(names) if n % 8 >> bit & 1)
        said = ", ".join(WORDS[name] for name in names if name in own) or "all is fine, thanks"
        texts.append(f"order {n}: {said}")
        sets.append(own)
    return texts, sets


def right(**options: bool) -> float:
    """Subset accuracy with a model whose answers have nothing to do with the rows."""
    clf = MultiLabelClassifier(
        "customer_intent", ScriptedEngine(), embedder="hashed", language="en", k=2, **options
    )
    clf.fit(*complaints(0, 64))
    return clf.score(*complaints(1000, 24))


def test_neighbours_decide_if_the_model_is_uninformative() -> None:
    assert right() > 0.8
    assert right(fusion=False) < 0.5


def test_the_model_decides_if_neighbours_are_uninformative() -> None:
    lots = np.random.default_rng(0)
    truth = lots.integers(2, size=200)
    sure = np.where(truth == YES, 0.9, 0.1)
    model = np.empty((200, 2))
    model[:, YES], model[:, NO] = sure, 1 - sure
    votes = lots.uniform(0.05, 0.95, size=200)
    both = fit_cells(model.tolist(), votes.tolist(), truth.tolist())
    found = both.apply(evidence(model.tolist(), votes.tolist()))
    assert (found.argmax(axis=1) == truth).mean() > 0.98


@given(
    st.lists(st.frozensets(st.integers(0, 3)), min_size=1, max_size=12),
    st.floats(0.01, 2.0),
    st.data(),
)
def test_a_vote_is_a_probability_that_follows_its_voters(
    sets: list[frozenset[int]], heat: float, data: st.DataObject
) -> None:
    draw = st.floats(-1, 1, width=32)
    near = data.draw(st.lists(draw, min_size=len(sets), max_size=len(sets)))
    hits = Hits(np.arange(len(sets)), np.sort(np.array(near))[::-1])
    base = shares(sets, 4)
    found = vote(hits, sets, base, heat)
    assert all(0 < p < 1 for p in found)
    for label in range(4):
        with_it = vote(hits, [own | {label} for own in sets], base, heat)
        without = vote(hits, [own - {label} for own in sets], base, heat)
        assert without[label] <= found[label] + 1e-12
        assert found[label] <= with_it[label] + 1e-12


def test_without_neighbours_the_shares_speak() -> None:
    nothing = Hits(np.empty(0, dtype=np.int64), np.empty(0))
    assert vote(nothing, [], (0.25, 0.5), 0.1) == (0.25, 0.5)
