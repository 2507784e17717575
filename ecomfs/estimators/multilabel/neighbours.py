"""The neighbours' vote on each label, and its fusion with the model.

A nearby example votes with all its labels at once. The weights of vote and model are fitted on
leave-one-out readings of cells (one row and one label), for all labels together, like
:mod:`ecomfs.calibration.blend` does for tasks with one label per row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecomfs.calibration import MODEL, MODEL_ALONE, Blend, Evidence, Fusion, fit_blend, log_scores
from ecomfs.estimators.multilabel.prompts import NO, YES
from ecomfs.experts import NEIGHBOURS
from ecomfs.retrieve import Hits

PRIOR = Fusion({MODEL: 0.7, "vote": 0.7})
"""Weights before any reading: equal for model and neighbours."""
VOTE_ALONE = Fusion({"vote": 1.0})
"""The component that is the neighbours' vote alone."""


def shares(sets: Sequence[frozenset[int]], labels: int) -> tuple[float, ...]:
    """The share of examples that have each label, with add-one (Laplace) smoothing.

    >>> shares([frozenset({0}), frozenset({0, 1})], 2)
    (0.75, 0.5)
    """
    counts = np.bincount([label for own in sets for label in own], minlength=labels)
    return tuple(((counts + 1) / (len(sets) + 2)).tolist())


def vote(
    hits: Hits, sets: Sequence[frozenset[int]], base: Sequence[float], temperature: float
) -> tuple[float, ...]:
    """The probability that a row has each label, from its nearest examples.

    Each of the k nearest votes with weight exp(similarity / temperature); the label's share in the
    pool is one more vote: p = (k · w + share) / (k + 1), where w is the weighted share of the
    nearest examples that have the label.

    Args:
        sets: labels of the examples, by position.
        base: shares of the labels in the pool.

    >>> near = Hits(np.array([0, 1]), np.array([0.8, 0.8]))
    >>> vote(near, [frozenset({0}), frozenset({0, 1})], (0.75, 0.5), 0.1)
    (0.9166666666666666, 0.5)
    """
    near = hits.positions[:NEIGHBOURS].tolist()
    if not near:
        return tuple(base)
    similarities = hits.similarities[: len(near)]
    weights = np.exp((similarities - similarities.max()) / temperature)
    weights /= weights.sum()
    had = np.zeros(len(base))
    for weight, position in zip(weights.tolist(), near, strict=True):
        had[list(sets[position])] += weight
    return tuple(((len(near) * had + np.array(base)) / (len(near) + 1)).tolist())


def fit_cells(
    model: Sequence[Sequence[float]], votes: Sequence[float], truth: Sequence[int]
) -> Blend:
    """Fit the weights of model and neighbours.

    Args:
        model: calibrated probabilities of no and yes, one pair per cell.
        votes: the neighbours' probability of yes, one per cell.
        truth: the true answer, :data:`~ecomfs.estimators.multilabel.prompts.NO` or ``YES``.
    """
    counts = np.bincount(np.asarray(truth, dtype=np.int64), minlength=2) + 1.0
    return fit_blend(
        evidence(model, votes),
        truth,
        (counts / counts.sum()).tolist(),
        PRIOR,
        (VOTE_ALONE, MODEL_ALONE),
    )


def evidence(model: Sequence[Sequence[float]], votes: Sequence[float]) -> Evidence:
    """Cells as evidence for the two labels no and yes."""
    vote = np.empty((len(votes), 2))
    vote[:, YES], vote[:, NO] = votes, 1 - np.asarray(votes)
    read = np.asarray(model, dtype=np.float64).reshape(-1, 2)
    return Evidence({MODEL: log_scores(read), "vote": log_scores(vote)})


__all__ = ["evidence", "fit_cells", "shares", "vote"]
