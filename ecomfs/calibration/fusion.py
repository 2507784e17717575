"""Fusion: combines the answers of the language model and of the experts to one distribution.

The model reads the row and its demonstrations; the experts compare the row with all labelled
examples. Log-probabilities are added with weights (a logarithmic opinion pool, Genest and Zidek
1986, *Statistical Science* 1(1)), which is also the form of Bayes' rule for sources with
independent errors. The experts are first weighted among each other on the whole pool, which needs
no model calls; their common answer is then one source, and the model the other. Both have the same
prior weight, since it depends on the model and the task which of them is better.

The weights have a prior, found on development sets, and are fitted to leave-one-out readings of the
pool. With few readings they stay near the prior, and without readings they equal it. The prior on a
common scale of all weights is wider than that on each weight: if no source is often right, all
weights fall together. Whether a source should be used at all is decided by
:mod:`ecomfs.calibration.blend`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecomfs.calibration.calibrate import (
    FLOOR,
    MINIMUM,
    FloatArray,
    log_scores,
    softmax,
    weights_of,
)
from ecomfs.types import Opinion

MODEL = "model"
"""Name of the source that is the language model."""
EXPERTS = "experts"
"""Name of the source that is the experts' common answer."""
FEATURES = "features"
"""Name of the source that is the feature model."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior of a source's weight: mean and standard deviation."""

    weight: float
    spread: float


PRIORS = {
    MODEL: Prior(0.7, 0.3),
    EXPERTS: Prior(0.7, 0.3),
    "vote": Prior(0.7, 0.15),
    "probe": Prior(5.0, 1.0),
    FEATURES: Prior(1.0, 0.3),
}
"""Priors of the weights of model and experts, and of each expert among the experts: the best of a
few values on development sets with 32 labelled examples (docs/reading.md); for the feature model on
five sets with 32 and with 96 or 128."""

OTHER_PRIOR = Prior(0.7, 0.15)
"""Prior of an expert that is not in :data:`PRIORS`."""

FEATURES_ODDS = 4.0
"""Prior log-odds of the feature model alone, the best of 0 to 4 on five development sets. Its
leave-one-out answers are unbiased. Those of vote and probe look better than they are, by 1 to 3
nats in all, because the weights of fields and the penalty of the probe were chosen with the labels
of the examples left out."""

SCALE_SPREAD = 0.5
"""Standard deviation of the prior on the logarithm of the scale of all weights."""

PER_LABEL = 5
"""Examples of labels with fewer examples than this are not used for weights: leaving one out
removes so much of the label that the experts look worse than they are."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log-probabilities of every source for n rows, over L labels.

    Attributes:
        scores: source → unnormalised log-probabilities, shape (n, L). The source ``model`` is
            absent if the language model was not asked.
    """

    scores: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        opinions: Sequence[Opinion],
        model: ArrayLike | None = None,
        experts: ArrayLike | None = None,
    ) -> Self:
        """Evidence from the experts' opinions, the model's calibrated probabilities, and those of
        the experts' common answer.

        >>> Evidence.of([Opinion({"vote": (0.0, -1.0)})], [[0.5, 0.5]]).scores["vote"].shape
        (1, 2)
        """
        given = {MODEL: model, EXPERTS: experts}
        scores = {name: log_scores(p) for name, p in given.items() if p is not None}
        for name in opinions[0].scores if opinions else ():
            scores[name] = np.array([opinion.scores[name] for opinion in opinions])
        return cls(scores)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, L)."""
        return next((table.shape for table in self.scores.values()), (0, 0))

    def part(self, rows: NDArray[np.int64]) -> Evidence:
        """The evidence of some rows."""
        return Evidence({name: table[rows] for name, table in self.scores.items()})


@dataclass(frozen=True, slots=True)
class Fusion:
    """A weighted sum of log-probabilities.

    Attributes:
        weights: source → weight of its log-probabilities.
        readings: number of labelled examples they were fitted on; 0: the weights of the prior.

    >>> evidence = Evidence({"model": np.log([[0.6, 0.4]]), "vote": np.log([[0.3, 0.7]])})
    >>> Fusion({"model": 1.0}).apply(evidence).round(2).tolist()
    [[0.6, 0.4]]
    >>> Fusion({"model": 1.0, "vote": 1.0}).apply(evidence).round(2).tolist()
    [[0.39, 0.61]]
    """

    weights: Mapping[str, float]
    readings: int = 0

    def apply(self, evidence: Evidence) -> FloatArray:
        """Fused distributions, shape (n, L). Sources of weight 0 may be absent.

        Raises:
            KeyError: a source with a positive weight is absent.
        """
        return softmax(weighted_sum(self.weights, evidence))


def prior_fusion(sources: Iterable[str]) -> Fusion:
    """The prior weights of some sources.

    >>> prior_fusion(["vote", "probe"])
    Fusion(weights={'vote': 0.7, 'probe': 5.0}, readings=0)
    >>> prior_fusion([MODEL, EXPERTS]).weights
    {'model': 0.7, 'experts': 0.7}
    """
    return Fusion({name: PRIORS.get(name, OTHER_PRIOR).weight for name in sources})


def expert_priors(experts: Iterable[str]) -> list[tuple[Fusion, float]]:
    """The components of the experts' common answer: the prior of each, and its prior log-odds
    against the others.

    The feature model uses relations of fields; vote and probe compare whole rows. If only one kind
    is informative, the other adds noise, and its fused weight cannot fall fast enough. So each kind
    alone is a component too.

    >>> [(list(prior.weights), odds) for prior, odds in expert_priors(["vote", "features"])]
    [(['vote', 'features'], 0.0), (['features'], 4.0), (['vote'], 0.0)]
    >>> [list(prior.weights) for prior, _ in expert_priors(["vote", "probe"])]
    [['vote', 'probe']]
    """
    names = tuple(experts)
    rest = [name for name in names if name != FEATURES]
    found = [(names, 0.0)]
    if rest and len(rest) < len(names):
        found += [((FEATURES,), FEATURES_ODDS), (tuple(rest), 0.0)]
    return [(prior_fusion(some), odds) for some, odds in found]


def usable_rows(counts: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The examples on which weights are fitted: those of labels with :data:`PER_LABEL` examples or
    more. If a single label has so many, and most of the examples, all are used: on one label alone,
    the most confident source would look best.

    Args:
        counts: number of examples per label, shape (L,).
        labels: positions of the labels of the examples, shape (n,).

    >>> usable_rows(np.array([5, 6, 1]), np.array([0, 1, 2])).tolist()
    [True, True, False]
    >>> usable_rows(np.array([28, 4]), np.array([0, 1])).tolist()
    [True, True]
    """
    enough = counts >= PER_LABEL
    if enough.sum() == 1 and 2 * counts[enough].sum() > counts.sum():
        return np.ones(len(labels), dtype=np.bool_)
    return np.asarray(enough[labels])


def fit_fusion(
    evidence: Evidence,
    labels: Sequence[int] | NDArray[np.int64],
    prior: Fusion,
    usable: NDArray[np.bool_] | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Fusion:
    """Fit non-negative weights with the least log loss and prior penalty.

    It uses Nelder and Mead's simplex search, without derivatives. A weight that is 0 in the prior
    stays 0.

    Args:
        evidence: leave-one-out evidence of labelled examples.
        labels: positions of the true labels, one per row.
        prior: the prior weights.
        usable: the rows to use (see :data:`PER_LABEL`); ``None``: all. With fewer than
            :data:`~ecomfs.calibration.calibrate.MINIMUM` rows the prior weights are returned.
        weights: number of examples that each row represents; ``None``: 1 each.
    """
    from scipy.optimize import minimize  # takes 0.2 s to import, and only a fit needs it

    truth = np.asarray(labels, dtype=np.int64)
    each = weights_of(weights, len(truth))
    if usable is not None:
        evidence, truth = evidence.part(np.flatnonzero(usable)), truth[usable]
        each = weights_of(each[usable], len(truth))
    if len(truth) < MINIMUM:
        return prior
    free = [name for name, weight in prior.weights.items() if weight > 0]
    start = np.array([prior.weights[name] for name in free])
    spread = np.array([PRIORS.get(name, OTHER_PRIOR).spread for name in free])

    def moved_by(moves: FloatArray) -> dict[str, float]:
        """The weights for moves in standard deviations; the last move is that of the scale."""
        moved = np.maximum(start + spread * moves[:-1], 0.0)
        found = (moved * float(np.exp(SCALE_SPREAD * moves[-1]))).tolist()
        return {**prior.weights, **dict(zip(free, found, strict=True))}

    def loss(moves: FloatArray) -> float:
        p = softmax(weighted_sum(moved_by(moves), evidence))[np.arange(len(truth)), truth]
        away = (moves**2).sum() / (2 * len(truth))
        return float(away - (each * np.log(np.maximum(p, FLOOR))).mean())

    size = len(free) + 1
    # Start with a simplex of half a standard deviation; the default at zero is tiny.
    simplex = np.vstack([np.zeros(size), 0.5 * np.eye(size)])
    options = {"xatol": 1e-3, "fatol": 1e-6, "initial_simplex": simplex}
    found = minimize(loss, np.zeros(size), method="Nelder-Mead", options=options)
    return Fusion(moved_by(found.x), len(truth))


def weighted_sum(weights: Mapping[str, float], evidence: Evidence) -> FloatArray:
    """The weighted sum of log-probabilities, shape (n, L), unnormalised. Sources of weight 0 may be
    absent.

    >>> evidence = Evidence({"vote": np.array([[0.0, -2.0]])})
    >>> weighted_sum({"vote": 0.5, "model": 0.0}, evidence).tolist()
    [[0.0, -1.0]]
    """
    out = np.zeros(evidence.shape)
    for name, weight in weights.items():
        if weight:
            out += weight * evidence.scores[name]
    return out


__all__ = [
    "EXPERTS",
    "FEATURES",
    "MODEL",
    "PER_LABEL",
    "PRIORS",
    "Evidence",
    "Fusion",
    "expert_priors",
    "fit_fusion",
    "prior_fusion",
    "usable_rows",
    "weighted_sum",
]
