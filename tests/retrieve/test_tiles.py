"""A pair's product is the same number whatever stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.retrieve import DenseIndex
from ecomfs.retrieve import tiles as tiles_module
from ecomfs.retrieve.tiles import Tiles


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 300),
    queries=st.integers(1, 30),
    dimensions=st.sampled_from([1, 3, 64, 100, 384, 1024]),
    seed=st.integers(0, 99),
)
def test_the_same_alone_and_beside_others(
    size: int, queries: int, dimensions: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((size, dimensions)).astype(np.float32)
    asked = draw.standard_normal((queries, dimensions)).astype(np.float32)
    tiles = Tiles.of(vectors)
    if tiles is None:
        pytest.skip("this BLAS rounds otherwise in other places of a tile")
    together = tiles.scores(asked)
    assert together.shape == (queries, size)
    bound = 1e-6 * np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    assert (np.abs(together - asked.astype(float) @ vectors.T.astype(float)) <= bound).all()
    for row, query in zip(together, asked, strict=True):
        assert np.array_equal(row, tiles.scores(query[None])[0])
    copies = Tiles.of(vectors[np.zeros(size, dtype=int)])
    assert copies is not None
    assert (copies.scores(asked) == together[:, :1]).all()


def test_too_long_vectors_and_nothing() -> None:
    assert Tiles.of(np.ones((2, 1 << 16), dtype=np.float32)) is None
    assert Tiles.of(np.empty((0, 4), dtype=np.float32)) is None


def test_where_blas_rounds_otherwise_pairs_are_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(5)
    vectors = draw.standard_normal((90, 96)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:33] + np.float32(0.001)
    usual = DenseIndex(vectors).search(queries, 7)
    monkeypatch.setattr(tiles_module, "_steady", lambda dimensions, width: False)
    assert Tiles.of(vectors) is None
    again = DenseIndex(vectors)
    found = again.search(queries, 7)
    for number, (one, other) in enumerate(zip(usual, found, strict=True)):
        assert one.positions.tolist() == other.positions.tolist()
        np.testing.assert_allclose(one.similarities, other.similarities, atol=1e-6)
        alone = again.search(queries[number][None], 7)[0]
        np.testing.assert_array_equal(alone.similarities, other.similarities)
