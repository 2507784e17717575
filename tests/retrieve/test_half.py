from __future__ import annotations

import numpy as np
import pytest

from ecomfs.retrieve import half
from ecomfs.retrieve.half import HalfRows, widen


def test_widening_is_exact_for_every_finite_float16() -> None:
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]
    found = widen(numbers, np.empty(len(numbers), dtype=np.float32))
    np.testing.assert_array_equal(found.view(np.int32), numbers.astype(np.float32).view(np.int32))


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("queries", [1, 4, 5])
def test_scores_with_and_without_faiss(
    monkeypatch: pytest.MonkeyPatch, scan: bool, queries: int
) -> None:
    monkeypatch.setattr(half, "can_scan", lambda: scan)
    lots = np.random.default_rng(0)
    vectors = lots.normal(size=(2 * half.BLOCK + 3, 24)).astype(np.float16)
    asked = lots.normal(size=(queries, 24)).astype(np.float32)
    expected = asked @ vectors.astype(np.float32).T
    np.testing.assert_allclose(HalfRows(vectors).scores(asked), expected, rtol=0, atol=1e-4)
