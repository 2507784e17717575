from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from ecomfs.retrieve import DenseIndex
from ecomfs.retrieve.index import Groups
from ecomfs.retrieve.ivf import IVFIndex

SIZE, DIMENSIONS = 4000, 24


def clustered(size: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, DIMENSIONS))
    vectors = centres[rng.integers(0, 40, size)] + 0.4 * rng.normal(size=(size, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # As stored, so that the exact index compares the same numbers.
    return vectors.astype(np.float16).astype(np.float32)


VECTORS = clustered(SIZE, 0)
QUERIES = clustered(60, 1)


@pytest.fixture(scope="module")
def ivf() -> IVFIndex:
    return IVFIndex.build(VECTORS)


@pytest.fixture(scope="module")
def exact() -> DenseIndex:
    return DenseIndex(VECTORS)


def recall(found: list[NDArray[np.int64]], true: list[NDArray[np.int64]]) -> float:
    pairs = list(zip(found, true, strict=True))
    return sum(len(set(f) & set(t)) for f, t in pairs) / sum(len(t) for _, t in pairs)


def test_nearly_all_neighbours_are_found_with_exact_similarities(
    ivf: IVFIndex, exact: DenseIndex
) -> None:
    found, true = ivf.search(QUERIES, 8), exact.search(QUERIES, 8)
    assert recall([h.positions for h in found], [h.positions for h in true]) > 0.95
    assert 0.99 <= ivf.recall <= 1
    assert ivf.probes < ivf._lists.nlist
    for query, hits in zip(QUERIES, found, strict=True):
        by_hand = VECTORS[hits.positions].astype(float) @ query.astype(float)
        np.testing.assert_allclose(hits.similarities, by_hand, atol=1e-6)
        assert list(hits.similarities) == sorted(hits.similarities, reverse=True)


def test_alone_or_in_a_batch(ivf: IVFIndex) -> None:
    together = ivf.search(QUERIES, 8)
    for number in range(0, 60, 7):
        alone = ivf.search(QUERIES[number : number + 1], 8)[0]
        assert alone.positions.tolist() == together[number].positions.tolist()


@pytest.mark.parametrize("count", [5, 900])
def test_excluded_positions_are_replaced_by_the_next(
    ivf: IVFIndex, exact: DenseIndex, count: int
) -> None:
    excluded = [set(h.positions.tolist()) for h in exact.search(QUERIES, count)]
    found = ivf.search(QUERIES, 8, excluded=excluded)
    true = exact.search(QUERIES, 8, excluded=excluded)
    for hits, banned in zip(found, excluded, strict=True):
        assert len(hits) == 8
        assert not banned.intersection(hits.positions.tolist())
    assert recall([h.positions for h in found], [h.positions for h in true]) > 0.9


@pytest.mark.parametrize("far", [True, False])
@pytest.mark.parametrize("banned", [0, 600])
def test_every_group_gets_its_share(
    ivf: IVFIndex, exact: DenseIndex, far: bool, banned: int
) -> None:
    # Groups that live apart, so that most are never among the nearest.
    groups = Groups((VECTORS[:, 0] > np.quantile(VECTORS[:, 0], 0.7)).astype(np.int64))
    excluded = [set(range(banned)) for _ in QUERIES]
    options = {"excluded": excluded, "groups": groups, "per_group": 5, "far_groups": far}
    found = ivf.search(QUERIES, 4, **options)  # type: ignore[arg-type]
    true = exact.search(QUERIES, 4, **options)  # type: ignore[arg-type]
    assert recall([h.positions for h in found], [h.positions for h in true]) > 0.9
    for hits, right in zip(found, true, strict=True):
        if hits.positions[:4].tolist() == right.positions[:4].tolist():
            counts = Counter(groups.group_of[hits.positions].tolist())
            assert counts == Counter(groups.group_of[right.positions].tolist())
        assert not excluded[0].intersection(hits.positions.tolist())


@pytest.mark.parametrize("far", [True, False])
@pytest.mark.parametrize("banned", [0, 600])
@pytest.mark.parametrize("late", [0, 1500])
def test_large_groups_that_are_nowhere_near_get_their_share(
    far: bool, banned: int, late: int
) -> None:
    vectors = clustered(15_000, 2)
    groups = Groups(np.argsort(np.argsort(vectors[:, 0])) // 1500)
    index = IVFIndex.build(vectors[: len(vectors) - late])
    if late:
        positions = np.append(np.arange(len(vectors) - late), np.full(late, -1))
        index = index.updated(positions, vectors[-late:])
    excluded = [set(h.positions.tolist()) for h in DenseIndex(vectors).search(QUERIES, banned)]
    options = {"excluded": excluded, "groups": groups, "per_group": 3, "far_groups": far}
    found = index.search(QUERIES, 8, **options)  # type: ignore[arg-type]
    true = DenseIndex(vectors).search(QUERIES, 8, **options)  # type: ignore[arg-type]
    assert recall([h.positions for h in found], [h.positions for h in true]) > 0.97
    for hits, kept_out in zip(found, excluded, strict=True):
        assert not kept_out.intersection(hits.positions.tolist())
        counts = Counter(groups.group_of[hits.positions].tolist())
        assert set(counts) == set(range(10)) if far else set(counts) < set(range(10))
        assert min(counts.values()) >= 3


def test_vectors_are_read_back(ivf: IVFIndex) -> None:
    places = np.array([7, 3999, 7, 0])
    np.testing.assert_array_equal(ivf.vectors[places], VECTORS[places])
    assert len(ivf.vectors) == SIZE


def test_some_positions_are_ranked_exactly(ivf: IVFIndex, exact: DenseIndex) -> None:
    places = np.array([5, 1, 900])
    assert ivf.rank(QUERIES[0], places).positions.tolist() == (
        exact.rank(QUERIES[0], places).positions.tolist()
    )


def changed(seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """A pool that lost 300 examples, gained 200, and changed its order."""
    rng = np.random.default_rng(seed)
    positions = np.concatenate([rng.choice(SIZE, SIZE - 300, replace=False), np.full(200, -1)])
    rng.shuffle(positions)
    new = clustered(200, seed + 10)
    whole = np.empty((len(positions), DIMENSIONS), dtype=np.float32)
    whole[positions >= 0], whole[positions < 0] = VECTORS[positions[positions >= 0]], new
    return positions, new, whole


def test_an_updated_index_answers_for_the_new_pool(ivf: IVFIndex) -> None:
    positions, new, whole = changed(0)
    updated = ivf.updated(positions, new)
    assert updated.changed == pytest.approx(500 / SIZE)
    np.testing.assert_array_equal(updated.vectors[np.arange(len(whole))], whole)
    exact = DenseIndex(whole)
    groups = Groups((np.arange(len(whole)) % 3).astype(np.int64))
    for options in ({}, {"groups": groups, "per_group": 6}):
        found = updated.search(QUERIES, 8, **options)  # type: ignore[arg-type]
        true = exact.search(QUERIES, 8, **options)  # type: ignore[arg-type]
        assert recall([h.positions for h in found], [h.positions for h in true]) > 0.95
    late = [int(h.positions[0]) for h in updated.search(new, 1)]
    assert late == np.flatnonzero(positions < 0).tolist()


def test_updates_can_follow_each_other(ivf: IVFIndex) -> None:
    positions, new, whole = changed(1)
    first = ivf.updated(positions, new)
    keep = np.flatnonzero(np.arange(len(whole)) % 25 != 0)
    again = first.updated(np.append(keep, -1), QUERIES[:1])
    expected = np.vstack([whole[keep], QUERIES[:1]])
    np.testing.assert_array_equal(again.vectors[np.arange(len(expected))], expected)
    assert again.search(QUERIES[:1], 1)[0].positions.tolist() == [len(keep)]


def test_an_index_that_changed_much_is_rebuilt(ivf: IVFIndex) -> None:
    rebuilt = ivf.updated(np.append(np.arange(2000), -1), QUERIES[:1])
    assert rebuilt.changed == 0
    assert len(rebuilt) == 2001
    np.testing.assert_array_equal(rebuilt.vectors[np.array([2000])], QUERIES[:1])


def test_vectors_without_clusters_are_not_all_looked_at() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = IVFIndex.build(vectors)
    assert index.probes <= index._lists.nlist / 4
    assert 0.5 < index.recall < 0.99
    assert f"recall@10 {index.recall:.3f}" in index.description
    for place in (0, 4000):
        assert index.search(vectors[place : place + 1], 1)[0].positions.tolist() == [place]


def test_a_tiny_index() -> None:
    index = IVFIndex.build(VECTORS[:3])
    assert sorted(index.search(QUERIES[:1], 8)[0].positions.tolist()) == [0, 1, 2]
