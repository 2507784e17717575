"""Inner products are those of NumPy, whatever way they are computed."""

from __future__ import annotations

import numpy as np
import pytest

from ecomfs.retrieve.product import inner_products


@pytest.mark.parametrize("dimensions", [1, 7, 384, 4096, 1 << 19])
@pytest.mark.parametrize("queries", [0, 1, 7, 8, 61])
@pytest.mark.parametrize("size", [0, 1, 9, 40])
def test_as_a_plain_product(dimensions: int, queries: int, size: int) -> None:
    if dimensions > 4096 and queries * size > 10:
        pytest.skip("large")
    draw = np.random.default_rng(queries + size)
    left = draw.standard_normal((queries, dimensions)).astype(np.float32)
    right = draw.standard_normal((size, dimensions)).astype(np.float32)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    found = inner_products(left, right)
    assert found.dtype == np.float32
    assert found.shape == (queries, size)
    np.testing.assert_allclose(found, left.astype(float) @ right.T.astype(float), atol=2e-6)


def test_large_products_too() -> None:
    left = np.ones((600, 512), dtype=np.float32)
    right = np.ones((1000, 512), dtype=np.float32)
    assert np.array_equal(inner_products(left, right), np.full((600, 1000), 512.0))
