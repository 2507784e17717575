from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecomfs.embed import HashedEmbedder
from ecomfs.retrieve import DenseIndex, Retriever
from ecomfs.retrieve import index as index_module
from ecomfs.retrieve.index import Excluded, Groups
from ecomfs.types import Example


def unit(
    rows: int, dimensions: int, seed: int, *, distinct: int | None = None
) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(distinct or rows, dimensions))
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
@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 700),
    distinct=st.integers(1, 40),
    dimensions=st.sampled_from([1, 3, 96, 384]),
)
def test_a_query_gets_the_same_answer_alone_and_in_a_batch(
    seed: int, size: int, distinct: int, dimensions: int
) -> None:
    index = DenseIndex(unit(size, dimensions, seed, distinct=distinct))
    queries = unit(33, dimensions, seed + 1)
    groups = Groups(np.arange(size) % 5)
    for options in ({}, {"groups": groups, "per_group": 2}):
        together = index.search(queries, 7, **options)  # type: ignore[arg-type]
        for number, query in enumerate(queries):
            alone = index.search(query[None], 7, **options)[0]  # type: ignore[arg-type]
            assert alone.positions.tolist() == together[number].positions.tolist()
            np.testing.assert_array_equal(alone.similarities, together[number].similarities)


def test_large_batches_are_searched_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = unit(90, 16, 0), unit(11, 16, 1)
    excluded = [{number} for number in range(11)]
    whole = DenseIndex(vectors).search(queries, 5, excluded=excluded)
    monkeypatch.setattr(index_module, "_CELLS", 200)
    parts = DenseIndex(vectors).search(queries, 5, excluded=excluded)
    assert [h.positions.tolist() for h in parts] == [h.positions.tolist() for h in whole]


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


def test_an_updated_pool() -> None:
    vectors = unit(600, 32, 0)
    positions = np.concatenate([np.arange(4, 500), np.full(100, -1)])
    updated = DenseIndex(vectors[:500]).updated(positions, vectors[500:])
    np.testing.assert_array_equal(updated.vectors, vectors[4:])


@given(st.data())
def test_it_is_the_set_of_its_positions(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=20))
    _, numbers = np.unique(labels, return_inverse=True)
    groups = Groups(numbers)
    places = st.integers(0, len(labels) - 1)
    single, more = data.draw(st.sets(places)), data.draw(st.sets(places))
    allowed = data.draw(st.none() | st.lists(st.integers(0, len(groups.members) - 1)))
    excluded = Excluded(single, groups, allowed)
    listed = set(single)
    if allowed is not None:
        listed |= {p for p, number in enumerate(numbers.tolist()) if number not in allowed}
    everything = np.arange(len(labels))
    assert set(excluded) == listed == set(excluded.places().tolist())
    assert len(excluded) == len(listed) == len(excluded.places())
    assert [p in excluded for p in everything] == [p in listed for p in everything.tolist()]
    assert excluded.free(everything).tolist() == [p not in listed for p in everything.tolist()]
    left = [sum(p not in listed for p in members.tolist()) for members in groups.members]
    assert excluded.left(groups).tolist() == left
    assert set(excluded | more) == listed | more
    excluded.update(more)
    assert set(excluded) == listed | more


def test_a_label_named_twice_allows_no_other() -> None:
    rows = [("soft", "good"), ("torn", "bad"), ("blue", "other")]
    examples = [Example(f"e{n}", {"text": t}, label) for n, (t, label) in enumerate(rows)]
    retriever = Retriever(examples, [t for t, _ in rows], HashedEmbedder(64), strategy="top_k")
    (shown,) = retriever.retrieve(["blue"], 3, labels=[["good", "good", "bad"]])
    assert {d.example.label for d in shown} == {"good", "bad"}
