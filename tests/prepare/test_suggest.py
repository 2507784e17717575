"""Which rows to label next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.prepare.suggest import suggest

SEEDS = st.integers(0, 2**32 - 1)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def cloud(seed: int, count: int, size: int = 8) -> NDArray[np.float64]:
    return unit(np.random.default_rng(seed).normal(size=(count, size)))


def planted(seed: int, clusters: int = 8) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clusters of different sizes: drawing at random misses the small ones."""
    rng = np.random.default_rng(seed)
    centres = np.eye(clusters, 16)
    which = np.repeat(np.arange(clusters), rng.integers(8, 40, clusters))
    return unit(centres[which] + rng.normal(scale=0.05, size=(len(which), 16))), which


def names(count: int) -> list[str]:
    return [f"text {i}" for i in range(count)]


@given(SEEDS, st.integers(1, 40), st.integers(1, 50), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_n_distinct_and_deterministic(seed: int, count: int, n: int, pool: int) -> None:
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {
        "vectors": cloud(seed, count),
        "pool_vectors": cloud(seed + 1, pool),
        "uncertainty": rng.random(count).tolist(),
        "groups": rng.choice(["a", "b", "c"], count).tolist(),
        "seed": seed,
    }
    chosen = suggest(names(count), n, **options)
    positions = [s.position for s in chosen]
    assert len(positions) == len(set(positions)) == min(n, count)
    assert all(0 <= p < count for p in positions)
    assert chosen == suggest(names(count), n, **options)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_covers_planted_clusters_better_than_random(seed: int) -> None:
    vectors, which = planted(seed)
    clusters = len(set(which.tolist()))
    chosen = suggest(names(len(which)), clusters, vectors=vectors, seed=seed)
    covered = len({int(which[s.position]) for s in chosen})
    rng = np.random.default_rng(seed)
    draws = [len(set(which[rng.choice(len(which), clusters, False)])) for _ in range(200)]
    assert covered > np.mean(draws)
    assert covered >= clusters - 1


def test_rows_similar_to_the_pool_come_last() -> None:
    vectors, which = planted(0, clusters=4)
    pool = vectors[which == 2][:3]
    chosen = suggest(names(len(which)), 3, vectors=vectors, pool_vectors=pool)
    assert {int(which[s.position]) for s in chosen} == {0, 1, 3}


@given(SEEDS, st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_groups_take_turns(seed: int, n: int) -> None:
    groups = ["a"] * 20 + ["b"] * 6 + ["c"] * 4
    chosen = suggest(names(30), n, vectors=cloud(seed, 30), groups=groups, seed=seed)
    counts = [sum(s.group == g for s in chosen) for g in "abc"]
    assert max(counts) - min(counts) <= 1


def test_a_small_group_does_not_hold_up_the_rest() -> None:
    chosen = suggest(names(6), 6, vectors=cloud(0, 6), groups=["a"] * 5 + ["b"])
    assert sorted(s.position for s in chosen) == [0, 1, 2, 3, 4, 5]


def test_of_equally_distant_rows_the_uncertain_one_is_chosen() -> None:
    same = np.ones((5, 1))
    chosen = suggest(names(5), 1, vectors=same, uncertainty=[0.1, 0.2, 0.9, 0.3, 0.0])
    assert [s.position for s in chosen] == [2]
    assert chosen[0].uncertainty == 0.9
    assert "uncertainty 0.90" in chosen[0].why


def test_duplicates_are_left_out() -> None:
    texts = ["Good!", "good", "bad", "BAD.", "new", "😀", "😡"]
    chosen = suggest(texts, 7, vectors=cloud(0, 7), pool_texts=["Bad"])
    assert sorted(s.position for s in chosen) == [0, 4, 5, 6]


def test_nothing_left_to_label() -> None:
    assert suggest(["a"], 3, vectors=np.ones((1, 1)), pool_texts=["A"]) == []
    assert suggest([], 3, vectors=np.empty((0, 4))) == []


def test_stands_for_counts_texts_nothing_is_nearer_to() -> None:
    vectors = np.eye(3)[[0, 0, 0, 0, 1, 1, 2]]
    chosen = suggest(names(7), 3, vectors=vectors)
    assert [s.stands_for for s in chosen] == [4, 2, 1]
    assert chosen[0].why == "stands for 4 texts"


@pytest.mark.parametrize(
    ("n", "changed", "message"),
    [
        (0, {}, "0 suggestions"),
        (1, {"vectors": np.ones((2, 2))}, "3 texts, but vectors of shape"),
        (1, {"uncertainty": [0.5]}, "3 texts but 1 uncertainties"),
        (1, {"groups": ["a"]}, "3 texts but 1 groups"),
        (1, {"uncertainty": [0.5, 2, 0]}, "between 0 and 1"),
        (1, {"uncertainty": [0.5, float("nan"), 0]}, "between 0 and 1"),
        (1, {"pool_vectors": np.ones((2, 5))}, "pool vectors have shape"),
    ],
)
def test_bad_arguments(n: int, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suggest(names(3), n, **{"vectors": np.ones((3, 2)), **changed})
