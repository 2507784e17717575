"""What the neighbours say of each label, beside the model.

An example that lies near a row votes with all its labels at once. How far to believe it and how
far the model is found out on the cells (a row and a label) that are read leave-one-out, for all
labels together, as :mod:`ecomfs.calibration.blend` does for tasks of one label a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import MODEL_ALONE, Blend, Evidence, Fusion, fit_blend
from ecomfs.estimators.multilabel.prompts import NO, YES
from ecomfs.experts import NEIGHBOURS
from ecomfs.retrieve import Hits

Floats = NDArray[np.float64]

PRIOR = Fusion(0.7, 0.7, 0.0)
"""Weights before any reading: model and neighbours count alike."""
VOTE_ALONE = Fusion(0.0, 1.0, 0.0)
"""The account in which only the neighbours know."""


def shares(sets: Sequence[frozenset[int]], labels: int) -> tuple[float, ...]:
    """The share of examples that have each label, with one more that has it and one that lacks it.

    >>> shares([frozenset({0}), frozenset({0, 1})], 2)
    (0.75, 0.5)
    """
    counts = np.bincount([label for own in sets for label in own], minlength=labels)
    return tuple(((counts + 1) / (len(sets) + 2)).tolist())


def vote(
    hits: Hits, sets: Sequence[frozenset[int]], base: Sequence[float], temperature: float
) -> tuple[float, ...]:
    """The probability that a row has each label, by its nearest examples.

    Each of the k nearest votes with weight exp(similarity / temperature), and one further vote is
    the label's share in the pool: p = (k · w + share) / (k + 1), where w is the weight of those
    that have the label, of all.

    Args:
        sets: labels of the examples, by position.
        base: shares of the labels.

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
    """How model and neighbours answer together.

    Args:
        model: calibrated probabilities of no and yes, one pair a cell.
        votes: the neighbours' probability of yes, one a cell.
        truth: what is so, :data:`~ecomfs.estimators.multilabel.prompts.NO` or ``YES``.
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
    """Cells as evidence on two labels, no and yes."""
    said = np.empty((len(votes), 2))
    said[:, YES], said[:, NO] = votes, 1 - np.asarray(votes)
    return Evidence(np.asarray(model, dtype=np.float64).reshape(-1, 2), said, np.zeros_like(said))


__all__ = ["evidence", "fit_cells", "shares", "vote"]
