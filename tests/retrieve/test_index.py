from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecomfs.retrieve import DenseIndex
from ecomfs.retrieve.half import HalfRows
from ecomfs.retrieve.index import Groups


def unit(
    rows: int, dimensions: int, seed: int, *, distinct: int | None = None
) -> NDArray[np.float32]:
    lots = np.random.default_rng(seed)
    vectors = lots.normal(size=(distinct or rows, dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[np.arange(rows) % len(vectors)].astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 60),
    distinct=st.integers(1, 60),
    n=st.integers(0, 70),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_equals_sorting_everything(
    size: int, distinct: int, n: int, seed: int, data: st.DataObject
) -> None:
    vectors, queries = unit(size, 8, seed, distinct=distinct), unit(5, 8, seed + 1)
    excluded = [set(data.draw(st.lists(st.integers(0, size - 1), max_size=5))) for _ in queries]
    found = DenseIndex(vectors).search(queries, n, excluded=excluded)
    for query, banned, hits in zip(queries, excluded, found, strict=True):
        exact = np.einsum("ij,j->i", vectors.astype(np.float64), query.astype(np.float64))
        order = [p for p in np.argsort(-exact, kind="stable").tolist() if p not in banned][:n]
        assert hits.positions.tolist() == order
        np.testing.assert_allclose(hits.similarities, exact[order], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), distinct=st.integers(1, 40))
def test_a_query_gets_the_same_answer_alone_and_in_a_batch(seed: int, distinct: int) -> None:
    index = DenseIndex(unit(300, 96, seed, distinct=distinct))
    queries = unit(33, 96, seed + 1)
    together = index.search(queries, 7)
    for number, query in enumerate(queries):
        alone = index.search(query[None], 7)[0]
        assert alone.positions.tolist() == together[number].positions.tolist()
        np.testing.assert_array_equal(alone.similarities, together[number].similarities)


def test_groups_get_their_nearest_however_far() -> None:
    vectors = np.array([[1, 0], [0.99, 0.14], [0.9, 0.44], [0, 1], [-1, 0]], dtype=np.float32)
    query = np.array([[1, 0]], dtype=np.float32)
    groups = Groups(np.array([0, 1, 0, 1, 2]))
    index = DenseIndex(vectors)
    everywhere = index.search(query, 1, groups=groups, per_group=2)[0]
    assert everywhere.positions.tolist() == [0, 1, 2, 3, 4]
    near = index.search(query, 1, groups=groups, per_group=2, far_groups=False)[0]
    assert near.positions.tolist() == [0, 2]


def test_everything_excluded_gives_nothing() -> None:
    index = DenseIndex(np.eye(2, dtype=np.float32))
    hits = index.search(np.eye(2, dtype=np.float32), 3, excluded=[{0, 1}, {0}])
    assert [h.positions.tolist() for h in hits] == [[], [1]]


def test_near_finds_all_above_a_threshold() -> None:
    index = DenseIndex(np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32))
    near = index.near(np.array([[1, 0], [0, 1]], dtype=np.float32), 0.8)
    assert [n.tolist() for n in near] == [[0, 1], [2]]


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 5000),
    distinct=st.integers(1, 5000),
    n=st.integers(0, 40),
    queries=st.integers(1, 6),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_large_float16_pools_are_found_exactly(
    size: int, distinct: int, n: int, queries: int, seed: int, data: st.DataObject
) -> None:
    """Blocks, ties across blocks, exclusions; float16 kept and float32 kept give the same."""
    vectors = unit(size, 256, seed, distinct=distinct).astype(np.float16)
    asked = unit(queries, 256, seed + 1)
    excluded = [set(data.draw(st.lists(st.integers(0, size - 1), max_size=5))) for _ in asked]
    found = DenseIndex(vectors).search(asked, n, excluded=excluded)
    wide = DenseIndex(vectors.astype(np.float32)).search(asked, n, excluded=excluded)
    for query, banned, hits, other in zip(asked, excluded, found, wide, strict=True):
        exact = np.einsum("ij,j->i", vectors.astype(np.float32), query).astype(np.float64)
        order = [p for p in np.argsort(-exact, kind="stable").tolist() if p not in banned][:n]
        np.testing.assert_allclose(hits.similarities, exact[order], atol=1e-6)
        assert hits.positions.tolist() == other.positions.tolist()
        np.testing.assert_array_equal(hits.similarities, other.similarities)


def test_a_large_float16_pool_is_not_copied() -> None:
    vectors = unit(5000, 256, 0).astype(np.float16)
    index = DenseIndex(vectors)
    assert isinstance(index.vectors, HalfRows)
    assert np.shares_memory(index.vectors.stored, vectors)
    assert index.vectors[np.array([3, 1])].dtype == np.float32


def test_groups_and_thresholds_in_a_large_float16_pool() -> None:
    vectors, queries = unit(5000, 256, 0).astype(np.float16), unit(9, 256, 1)
    groups = Groups(np.arange(5000) % 7)
    half, wide = DenseIndex(vectors), DenseIndex(vectors.astype(np.float32))
    for m in (1, 9):
        for far in (True, False):
            one = half.search(queries[:m], 3, groups=groups, per_group=2, far_groups=far)
            two = wide.search(queries[:m], 3, groups=groups, per_group=2, far_groups=far)
            assert [h.positions.tolist() for h in one] == [h.positions.tolist() for h in two]
        near = zip(half.near(queries[:m], 0.2), wide.near(queries[:m], 0.2), strict=True)
        assert all(np.array_equal(a, b) for a, b in near)


def test_an_updated_float16_pool() -> None:
    vectors = unit(6000, 256, 0).astype(np.float16)
    index = DenseIndex(vectors[:5000])
    positions = np.concatenate([np.arange(4, 5000), np.full(1000, -1)])
    updated = index.updated(positions, vectors[5000:].astype(np.float32))
    whole = DenseIndex(vectors[4:])
    everything = np.arange(len(whole))
    assert isinstance(updated.vectors, HalfRows)
    np.testing.assert_array_equal(updated.vectors[everything], whole.vectors[everything])
