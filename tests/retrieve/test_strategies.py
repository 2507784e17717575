from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.retrieve import DenseIndex
from ecomfs.retrieve.strategies import (
    DPP,
    MMR,
    STRATEGIES,
    Adaptive,
    Balanced,
    Candidates,
    Fixed,
    PoolView,
    Random,
    Reweighted,
    SelectionStrategy,
    TopK,
    open_strategy,
)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    scaled = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(scaled, dtype=np.float32)


def choose(
    strategy: SelectionStrategy,
    vectors: NDArray[np.float32],
    labels: list[int],
    query: NDArray[np.float32],
    k: int,
    *,
    seed: int = 0,
    excluded: frozenset[int] = frozenset(),
    text: str = "query",
) -> list[int]:
    """Ask a strategy as the retriever does."""
    pool = PoolView([f"e{n}" for n in range(len(labels))], np.array(labels), vectors)
    count = len(set(labels))
    reach = strategy.reach(k, count)
    hits = DenseIndex(vectors).search(
        query[None],
        reach.nearest,
        excluded=[excluded],
        groups=pool.groups,
        per_group=reach.per_label,
        far_groups=reach.far_labels,
    )[0]
    candidates = Candidates(text, hits.positions, hits.similarities, count, excluded, pool)
    return strategy.select(candidates, k, seed)


def scene(seed: int, size: int) -> tuple[NDArray[np.float32], list[int], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(size, 5)) + 0.5)
    # Labels 0 … L-1, all of them in use.
    labels = np.unique(rng.integers(0, 4, size), return_inverse=True)[1].tolist()
    return vectors, labels, unit(rng.normal(size=(1, 5)))[0]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(0, 3),
    st.frozensets(st.integers(0, 29), max_size=10),
)
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_keeps_the_rules(
    name: str, world: int, size: int, k: int, seed: int, banned: frozenset[int]
) -> None:
    vectors, labels, query = scene(world, size)
    excluded = frozenset(b for b in banned if b < size)
    strategy = open_strategy(name)
    chosen = choose(strategy, vectors, labels, query, k, seed=seed, excluded=excluded)
    assert len(set(chosen)) == len(chosen) <= k
    assert not excluded.intersection(chosen)
    assert set(chosen) <= set(range(size))
    if name not in ("adaptive", "balanced"):
        assert len(chosen) == min(k, size - len(excluded))
    assert chosen == choose(strategy, vectors, labels, query, k, seed=seed, excluded=excluded)


NEAR_TWINS = unit(np.array([[1, 0, 0.02], [1, 0.01, 0], [1, 0, 0], [0.7, 0.7, 0], [0.7, 0, 0.7]]))
QUERY = np.array([1, 0, 0], dtype=np.float32)


def test_top_k_takes_twins_and_the_diverse_ones_do_not() -> None:
    assert sorted(choose(TopK(), NEAR_TWINS, [0] * 5, QUERY, 3)) == [0, 1, 2]
    assert sorted(choose(MMR(0.3), NEAR_TWINS, [0] * 5, QUERY, 3)) == [2, 3, 4]
    assert {3, 4} <= set(choose(DPP(0.5), NEAR_TWINS, [0] * 5, QUERY, 3))


def test_mmr_with_full_relevance_is_top_k() -> None:
    vectors, labels, query = scene(3, 25)
    assert choose(MMR(1.0), vectors, labels, query, 6) == choose(TopK(), vectors, labels, query, 6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(2, 5))
def test_dpp_is_the_greedy_maximum_of_the_determinant(world: int, k: int) -> None:
    vectors, labels, query = scene(world, 12)
    similarities = vectors.astype(float) @ query.astype(float)
    # With 4 k >= 12 all examples are candidates, so the kernel can be written down here.
    k = max(k, 3)
    relevance = np.exp((similarities - similarities.mean()) / similarities.std() / 2)
    kernel = np.outer(relevance, relevance) * (vectors.astype(float) @ vectors.astype(float).T)
    expected: list[int] = []
    for _ in range(k):
        gains = {
            c: np.linalg.det(kernel[np.ix_([*expected, c], [*expected, c])])
            for c in range(12)
            if c not in expected
        }
        expected.append(max(gains, key=gains.__getitem__))
    assert choose(DPP(), vectors, labels, query, k) == expected


def test_dpp_fills_up_with_duplicates_when_nothing_else_is_left() -> None:
    vectors = np.tile(np.array([[1, 0]], dtype=np.float32), (4, 1))
    assert len(choose(DPP(), vectors, [0] * 4, np.array([1, 0], dtype=np.float32), 3)) == 3


def test_reweighting_favours_the_rare_label() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(60, 8)) * 0.2 + np.eye(8)[0])
    labels = [1 if n % 12 == 0 else 0 for n in range(60)]
    query = np.eye(8, dtype=np.float32)[0]

    def rare(strength: float) -> int:
        return sum(labels[p] for p in choose(Reweighted(strength), vectors, labels, query, 8))

    assert rare(0) <= rare(0.5) <= rare(2)
    assert rare(2) > rare(0)
    assert choose(Reweighted(0), vectors, labels, query, 8) == choose(
        TopK(), vectors, labels, query, 8
    )


def test_adaptive_shows_less_where_neighbours_agree() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(40, 6)) * 0.3 + np.repeat(np.eye(6)[:2], 20, axis=0) * 3)
    agreed = [0] * 20 + [1] * 20
    mixed = [n % 2 for n in range(40)]
    query = np.eye(6, dtype=np.float32)[0]
    strategy = Adaptive(least=2, inner=TopK())
    assert len(choose(strategy, vectors, agreed, query, 8)) == 2
    between = [0 if n % 4 else 1 for n in range(40)]
    sizes = [len(choose(strategy, vectors, ls, query, 8)) for ls in (agreed, between, mixed)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 6


def test_balanced_goes_on_when_a_label_runs_out() -> None:
    vectors, _, query = scene(8, 9)
    labels = [0] * 8 + [1]
    chosen = choose(Balanced(), vectors, labels, query, 6)
    assert Counter(labels[p] for p in chosen) == {0: 5, 1: 1}


def test_random_depends_on_the_query_and_covers_the_pool() -> None:
    vectors, labels, query = scene(2, 20)
    drawn = [
        tuple(choose(Random(), vectors, labels, query, 4, text=f"q{n}", excluded=frozenset({3})))
        for n in range(60)
    ]
    assert len(set(drawn)) > 50
    assert {p for one in drawn for p in one} == set(range(20)) - {3}


def test_fixed_is_the_same_for_every_query_and_balanced() -> None:
    vectors, labels, query = scene(2, 30)
    chosen = choose(Fixed(), vectors, labels, query, 8, text="a")
    assert chosen == choose(Fixed(), vectors, labels, -query, 8, text="b")
    assert chosen != choose(Fixed(), vectors, labels, query, 8, seed=1)
    counts = Counter(labels[p] for p in chosen)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == len(set(labels))


def test_fixed_ids_are_shown_as_given() -> None:
    vectors, labels, query = scene(2, 30)
    strategy = Fixed(["e9", "unknown", "e4", "e7"])
    assert choose(strategy, vectors, labels, query, 2, excluded=frozenset({9})) == [4, 7]


@pytest.mark.parametrize("make", [lambda: MMR(1.5), lambda: Adaptive(least=-1)])
def test_settings_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_names_may_be_written_with_hyphens() -> None:
    assert open_strategy("top-k") == TopK()
    with pytest.raises(ConfigError, match="choose adaptive"):
        open_strategy("best")
