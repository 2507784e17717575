"""The neighbours' own answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kernel_vote(
    similarities: NDArray[np.float64],
    labels: NDArray[np.int64],
    label_count: int,
    temperature: float,
) -> NDArray[np.float64]:
    """A distribution over labels from one query's neighbours.

    Each of the k neighbours votes for its label with weight exp(similarity / temperature), and
    one further vote is spread evenly over all L labels, so that none is impossible:

        p(label) = (k · w(label) + 1/L) / (k + 1)

    where w are the weights summed a label and normalised to one.

    Args:
        similarities: of the neighbours, shape (k,).
        labels: numbers of their labels, shape (k,).
        label_count: L.
        temperature: above 0.

    >>> kernel_vote(np.array([0.9, 0.9, 0.9]), np.array([0, 0, 1]), 2, 0.1).tolist()
    [0.625, 0.375]
    """
    k = len(similarities)
    if not k:
        return np.full(label_count, 1 / label_count)
    weights = np.exp((similarities - similarities.max()) / temperature)
    votes = np.bincount(labels, weights, minlength=label_count)
    share = votes / votes.sum()
    return np.asarray((k * share + 1 / label_count) / (k + 1), dtype=np.float64)
