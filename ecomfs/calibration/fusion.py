"""Fusion: the language model's answer and the cheap experts', as one distribution.

The experts see different things: the model reads the row and its demonstrations, the neighbours'
vote and the linear probe see where the row lies among all labelled examples. Their logarithms are
added with weights (a logarithmic opinion pool, Genest and Zidek 1986, *Statistical Science* 1(1)),
which is also the form of Bayes' rule for experts that err independently.

The weights have a prior, found on development sets, and move from it as far as leave-one-out
readings of the pool support. Few readings hardly move them, and none leave them as they are. One
scale of all weights moves more freely than they do against each other: where no expert knows
much, all are believed less. Whether each knows anything at all is another question, which
:mod:`ecomfs.calibration.blend` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration.calibrate import FLOOR, MINIMUM, softmax

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What every expert says of n rows, over L labels.

    Attributes:
        model: calibrated probabilities of the language model, shape (n, L); rows of NaN where it
            was not asked.
        vote: probabilities of the neighbours' vote, shape (n, L).
        probe: scores of the linear probe, shape (n, L).
    """

    model: Floats
    vote: Floats
    probe: Floats

    def __len__(self) -> int:
        return len(self.vote)

    def part(self, rows: NDArray[np.int64]) -> Evidence:
        """The evidence of some rows."""
        return Evidence(self.model[rows], self.vote[rows], self.probe[rows])


@dataclass(frozen=True, slots=True)
class Fusion:
    """Weights of the experts.

    Attributes:
        model, vote: weights of the logarithms of their probabilities.
        probe: weight of the probe's scores.
        readings: labelled examples the weights were fitted on; 0: they are the prior's.

    >>> evidence = Evidence(np.array([[0.6, 0.4]]), np.array([[0.3, 0.7]]), np.array([[0.4, 0.6]]))
    >>> Fusion(1.0, 0.0, 0.0, 0).apply(evidence).round(2).tolist()
    [[0.6, 0.4]]
    >>> Fusion(1.0, 1.0, 0.0, 0).apply(evidence).round(2).tolist()
    [[0.39, 0.61]]
    """

    model: float
    vote: float
    probe: float
    readings: int = 0

    def apply(self, evidence: Evidence) -> Floats:
        """Fused distributions, shape (n, L). Experts of weight 0 are not looked at."""
        return softmax(_logits((self.model, self.vote, self.probe), evidence))


PRIOR = Fusion(0.7, 0.5, 4.0)
"""The weights before any reading: the best of a few on six development sets with 32 labels."""

SPREAD = (0.15, 0.15, 1.0)
"""Standard deviations of the prior, in the order model, vote, probe."""

SCALE_SPREAD = 0.5
"""Standard deviation of the prior on the logarithm of the scale of all weights."""

PER_LABEL = 5
"""Left out, an example of a label with fewer than this many takes so much of what the experts know
of the label with it that they look worse than they will be: it says nothing of their weights."""

PRIOR_CHEAP = Fusion(0.0, 0.7, 5.0)
"""The same for the cheap experts alone, which answer where the model is not asked."""


def fit_fusion(
    evidence: Evidence,
    labels: Sequence[int] | NDArray[np.int64],
    prior: Fusion = PRIOR,
    usable: NDArray[np.bool_] | None = None,
) -> Fusion:
    """The weights with the least log loss under the prior, none below 0.

    Nelder and Mead's simplex search, which needs no derivative. A weight that is 0 in the prior
    stays 0.

    Args:
        evidence: leave-one-out, of labelled examples.
        labels: positions of the true labels, one a row.
        usable: which rows count (see :data:`PER_LABEL`); ``None``: all. With fewer than
            :data:`~ecomfs.calibration.calibrate.MINIMUM` of them the weights are the prior's.
    """
    from scipy.optimize import minimize  # a fifth of a second that only a fit needs

    truth = np.asarray(labels, dtype=np.int64)
    if usable is not None:
        evidence, truth = evidence.part(np.flatnonzero(usable)), truth[usable]
    if len(truth) < MINIMUM:
        return prior
    start = np.array([prior.model, prior.vote, prior.probe])
    free = start > 0

    def weights(moves: Floats) -> Floats:
        """From moves in standard deviations; the last one is the scale's."""
        full = np.zeros(3)
        full[free] = np.maximum(start[free] + np.array(SPREAD)[free] * moves[:-1], 0.0)
        return full * float(np.exp(SCALE_SPREAD * moves[-1]))

    def loss(moves: Floats) -> float:
        p = softmax(_logits(weights(moves), evidence))[np.arange(len(truth)), truth]
        away = (moves**2).sum() / (2 * len(truth))
        return float(away - np.log(np.maximum(p, FLOOR)).mean())

    found = minimize(
        loss,
        np.zeros(free.sum() + 1),
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-6, "initial_simplex": _simplex(int(free.sum()) + 1)},
    )
    model, vote, probe = (float(w) for w in weights(found.x))
    return replace(prior, model=model, vote=vote, probe=probe, readings=len(truth))


def _simplex(size: int) -> Floats:
    """A first simplex of half a standard deviation a side: from zeros the default is tiny."""
    return np.vstack([np.zeros(size), 0.5 * np.eye(size)])


def _logits(weights: Sequence[float] | Floats, evidence: Evidence) -> Floats:
    out = np.zeros_like(evidence.vote, dtype=np.float64)
    model, vote, probe = weights
    if model:
        out += model * np.log(np.maximum(evidence.model, FLOOR))
    if vote:
        out += vote * np.log(np.maximum(evidence.vote, FLOOR))
    if probe:
        out += probe * evidence.probe
    return out


__all__ = ["PER_LABEL", "PRIOR", "PRIOR_CHEAP", "Evidence", "Fusion", "fit_fusion"]
