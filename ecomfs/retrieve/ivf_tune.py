"""How many lists of an inverted file a query has to look into, by measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGET_RECALL = 0.99
MOST_LISTS = 0.25
"""Of the lists, looked into at most: with more, comparing everything would be as fast."""
CHUNK = 1 << 16
"""Vectors that are float32 at a time."""

_SAMPLE = 256


def tune(
    faiss: Any, index: Any, vectors: NDArray[Any], lists: int, lots: np.random.Generator
) -> tuple[int, float]:
    """The fewest probes, in powers of two, that reach the target, and the recall they have. Where
    vectors have no clusters to speak of, as many as cost no more than an exact search would."""
    places = np.sort(lots.choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False))
    queries = np.ascontiguousarray(vectors[places], dtype=np.float32)
    n = min(11, len(vectors))  # the example itself is always found: ten others count
    exact = faiss.knn  # brute force on blocks keeps memory flat
    scores = np.full((len(places), n), -np.inf, dtype=np.float32)
    nearest = np.full((len(places), n), -1, dtype=np.int64)
    for start in range(0, len(vectors), CHUNK):
        block = np.ascontiguousarray(vectors[start : start + CHUNK], dtype=np.float32)
        s, i = exact(queries, block, min(n, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        scores, nearest = np.hstack([scores, s]), np.hstack([nearest, i + start])
        order = np.argsort(-scores, axis=1)[:, :n]
        scores = np.take_along_axis(scores, order, axis=1)
        nearest = np.take_along_axis(nearest, order, axis=1)
    most = min(lists, max(8, int(lists * MOST_LISTS)))
    probes, recall = 1, 0.0
    while True:
        _, found = index.search(
            queries, n, params=faiss.SearchParametersIVF(nprobe=min(probes, most))
        )
        hits = sum(
            len(set(f) & set(t) - {p})
            for f, t, p in zip(found.tolist(), nearest.tolist(), places.tolist(), strict=True)
        )
        recall = hits / max(1, len(places) * (n - 1))
        if recall >= TARGET_RECALL or probes >= most:
            return min(probes, most), min(1.0, recall)
        probes *= 2


__all__ = ["CHUNK", "MOST_LISTS", "TARGET_RECALL", "tune"]
