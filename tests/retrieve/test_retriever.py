from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError, PoolError
from ecomfs.retrieve import Retriever
from ecomfs.retrieve.strategies import STRATEGIES, open_strategy
from ecomfs.types import Example

EMBEDDER = HashedEmbedder(256)
words = st.text(alphabet="abcdefgh 好用坏鞋", min_size=1, max_size=12)
pools = st.lists(st.tuples(words, st.sampled_from("uvwxyz")), min_size=1, max_size=30)


def make(rows: list[tuple[str, str]], **options: object) -> Retriever:
    examples = [Example(f"e{n}", {"text": t}, label) for n, (t, label) in enumerate(rows)]
    return Retriever(examples, [t for t, _ in rows], EMBEDDER, **options)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(pools, st.lists(words, min_size=1, max_size=4), st.integers(0, 12), st.integers(0, 3))
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_k_order_and_determinism(
    strategy: str, rows: list[tuple[str, str]], queries: list[str], k: int, seed: int
) -> None:
    retriever = make(rows, strategy=strategy, seed=seed)
    found = retriever.retrieve(queries, k)
    for query, shown in zip(queries, found, strict=True):
        assert len(shown) <= min(k, len(rows))
        assert len({d.example.id for d in shown}) == len(shown)
        similarities = [d.similarity for d in shown]
        assert similarities == sorted(similarities)
        assert make(rows, strategy=strategy, seed=seed).retrieve([query], k)[0] == shown


@settings(max_examples=80, deadline=None)
@given(pools, words, st.integers(1, 12), st.integers(0, 5))
def test_balance(rows: list[tuple[str, str]], query: str, k: int, seed: int) -> None:
    retriever = make(rows, seed=seed)
    shown = retriever.retrieve([query], k)[0]
    available = Counter(label for _, label in rows)
    if k < 2 * len(available) and not len(available) == 2 <= k:
        nearest = retriever.neighbours([query], k)[0].positions
        candidates = {rows[p][1] for p in nearest}
    else:
        candidates = set(available)
    counts = Counter(d.example.label for d in shown)
    assert set(counts) <= candidates
    assert len(shown) == min(k, sum(available[c] for c in candidates))
    fullest = max(counts.values())
    for label in candidates:
        # A label may lag behind only when it has no more examples.
        assert counts[label] >= fullest - 1 or counts[label] == available[label]


@settings(max_examples=40, deadline=None)
@given(pools, words)
def test_each_label_shows_its_nearest(rows: list[tuple[str, str]], query: str) -> None:
    retriever = make(rows)
    k = 2 * len(retriever.labels)
    shown = {d.example.label: d.similarity for d in retriever.retrieve([query], k)[0]}
    everyone = retriever.neighbours([query], len(rows))[0]
    for position, similarity in zip(everyone.positions, everyone.similarities, strict=True):
        assert shown[rows[position][1]] >= similarity


def test_with_fewer_places_than_labels_the_neighbours_labels_share_them() -> None:
    near = [("red shoe a", "u"), ("red shoe b", "u"), ("red shoe c", "u"), ("red shoe", "v")]
    far = [("green lamp", "v"), ("blue hat", "w"), ("grey sofa", "x"), ("pink pen", "y")]
    shown = make(near + far).retrieve(["red shoe"], 4)[0]
    assert Counter(d.example.label for d in shown) == {"u": 2, "v": 2}


def test_top_k_is_exactly_the_nearest() -> None:
    rows = [(t, "x") for t in ("red shoe", "red shoes", "blue hat", "green lamp", "red shoe box")]
    shown = make(rows, strategy="top_k").retrieve(["red shoe"], 3)[0]
    assert [d.text for d in shown][-1] == "red shoe"
    assert {d.text for d in shown} == {"red shoe", "red shoes", "red shoe box"}
    assert shown[-1].similarity == pytest.approx(1, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(pools)
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_leave_self_out_never_shows_the_query(strategy: str, rows: list[tuple[str, str]]) -> None:
    retriever = make(rows, strategy=strategy)
    texts = [text for text, _ in rows]
    ids = [[e.id] for e in retriever.examples]
    shown = retriever.retrieve(texts, 8, exclude_ids=ids, leave_self_out=True)
    for own, example, demonstrations in zip(texts, retriever.examples, shown, strict=True):
        assert example.id not in {d.example.id for d in demonstrations}
        assert own.strip() not in {d.text.strip() for d in demonstrations}


def test_by_default_an_equal_example_is_shown_and_only_named_ids_are_not() -> None:
    retriever = make([("good shoe", "x"), ("Good  SHOE!", "x"), ("bad hat", "y")])
    assert len(retriever.retrieve(["good shoe"], 3)[0]) == 3
    ids = [d.example.id for d in retriever.retrieve(["good shoe"], 3, exclude_ids=[["e0"]])[0]]
    assert sorted(ids) == ["e1", "e2"]
    left = retriever.retrieve(["good shoe"], 3, leave_self_out=True)[0]
    assert [d.example.id for d in left] == ["e2"]


def test_a_query_can_be_held_to_some_labels() -> None:
    retriever = make([("red", "a"), ("red", "b"), ("red", "c"), ("blue", "c")])
    shown = retriever.retrieve(["red", "red"], 2, labels=[["c"], ["a", "b", "unheard of"]])
    assert [sorted(d.example.label for d in s) for s in shown] == [["c", "c"], ["a", "b"]]


def test_labels_take_the_odd_place_in_turn_over_many_queries() -> None:
    retriever = make([("same", "a"), ("same", "b"), ("same", "a"), ("same", "b")])
    queries = [f"query {n}" for n in range(60)]
    extra = Counter(
        Counter(d.example.label for d in shown).most_common(1)[0][0]
        for shown in retriever.retrieve(queries, 3)
    )
    assert min(extra["a"], extra["b"]) > 15


@settings(max_examples=50, deadline=None)
@given(pools, st.lists(words, max_size=4), st.integers(1, 40))
def test_votes_are_distributions_without_zeros(
    rows: list[tuple[str, str]], queries: list[str], k: int
) -> None:
    retriever = make(rows)
    votes = retriever.vote(queries, k)
    assert votes.shape == (len(queries), len(retriever.labels))
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    assert np.all(votes > 0)


def test_a_vote_by_hand() -> None:
    retriever = make([("aaaa", "x"), ("aaaa", "x"), ("aaaa", "y")])
    # Three equal neighbours, two of them x: (3 · 2/3 + 1/2) / 4.
    assert retriever.vote(["aaaa"], 3)[0].tolist() == pytest.approx([2.5 / 4, 1.5 / 4])


def test_a_vote_without_neighbours_is_even() -> None:
    retriever = make([("aaaa", "x"), ("bbbb", "y")])
    assert retriever.vote(["aaaa"], 3, exclude_ids=[["e0", "e1"]])[0].tolist() == [0.5, 0.5]


def test_a_cold_vote_follows_the_nearest_and_a_hot_one_counts() -> None:
    retriever = make([("red shoe", "x"), ("red hat", "y"), ("red lamp", "y")])
    cold = retriever.vote(["red shoe"], 3, temperature=1e-3)[0]
    hot = retriever.vote(["red shoe"], 3, temperature=1e3)[0]
    assert retriever.labels == ("x", "y")
    assert cold[0] > 0.8
    assert hot[1] > 0.6


def test_a_pool_of_one_and_a_pool_of_equals_have_a_scale() -> None:
    for rows in ([("aaaa", "x")], [("aaaa", "x"), ("aaaa", "y")]):
        assert math.isfinite(make(rows).similarity_scale)
        assert make(rows).similarity_scale > 0


def test_no_queries() -> None:
    retriever = make([("aaaa", "x")])
    assert retriever.retrieve([], 4) == []
    assert retriever.neighbours([], 4) == []


@pytest.mark.parametrize(
    "options", [{"strategy": "psychic"}, {"mode": "telepathy"}], ids=["strategy", "mode"]
)
def test_unknown_names_are_refused_with_the_choice(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="choose"):
        make([("aaaa", "x")], **options)


def test_bad_arguments_are_refused() -> None:
    retriever = make([("aaaa", "x")])
    with pytest.raises(PoolError, match="empty"):
        make([])
    with pytest.raises(ConfigError, match="1 examples but 0 texts"):
        Retriever([Example("a", {}, "x")], [], EMBEDDER)
    with pytest.raises(ConfigError, match="k is -1"):
        retriever.retrieve(["a"], -1)
    with pytest.raises(ConfigError, match="exclude_ids"):
        retriever.retrieve(["a", "b"], 1, exclude_ids=[["e0"]])
    with pytest.raises(ConfigError, match="collection for each query"):
        retriever.retrieve(["a"], 1, labels=["x"])
    with pytest.raises(ConfigError, match="neighbours"):
        retriever.neighbours(["a"], 0)
    with pytest.raises(ConfigError, match="temperature"):
        retriever.vote(["a"], 1, temperature=0)


def test_a_strategy_object_passes_through() -> None:
    strategy = open_strategy("top_k")
    assert open_strategy(strategy) is strategy
