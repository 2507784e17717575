"""Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): rankings added, not scores.

Cosines and BM25 scores live on different scales; ranks need no calibration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.index import Hits

RRF_CONSTANT = 60
"""Of the original paper: how little the first ranks stand out."""


def fuse(
    rankings: Sequence[Hits], *, weights: Sequence[float] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions by descending Σ weight / (60 + rank), and those sums; what a ranking does not
    hold adds nothing. Ties stay in the order of the pool.

    >>> a = Hits(np.array([7, 3]), np.array([0.9, 0.8]))
    >>> b = Hits(np.array([3, 5]), np.array([11.0, 2.0]))
    >>> fuse([a, b])[0].tolist()
    [3, 7, 5]
    """
    shares = [1.0] * len(rankings) if weights is None else list(weights)
    every = np.unique(np.concatenate([hits.positions for hits in rankings]))
    scores = np.zeros(len(every))
    for hits, share in zip(rankings, shares, strict=True):
        places = np.searchsorted(every, hits.positions)
        scores[places] += share / (RRF_CONSTANT + 1 + np.arange(len(hits)))
    order = np.lexsort((every, -scores))
    return every[order], scores[order]
