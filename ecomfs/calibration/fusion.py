"""Fusion: the language model's answer and those of the experts, as one distribution.

The model reads the row and its demonstrations; the experts see where the row lies among all
labelled examples. Log-probabilities are added with weights (a logarithmic opinion pool, Genest and
Zidek 1986, *Statistical Science* 1(1)), which is also the form of Bayes' rule for sources that err
independently. The experts are weighed among themselves on the whole pool, which costs no reading;
their common answer is then one source beside the model. Neither of the two has a head start: both
have the same weight before any reading, since which of them leads depends on the model and the
task.

The weights have a prior, found on development sets, and move from it as far as leave-one-out
readings of the pool support. Few readings hardly move them, and none leave them as they are. One
scale of all weights moves more freely than they do against each other: where no source is right
often, all count less. Whether each is worth listening to at all is another question, which
:mod:`ecomfs.calibration.blend` answers.
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
"""Name of the language model among the sources."""
EXPERTS = "experts"
"""Name of the experts' common answer among the sources."""
FEATURES = "features"
"""Name of the feature model among the sources."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Of a source's weight: its mean and standard deviation."""

    weight: float
    spread: float


PRIORS = {
    MODEL: Prior(0.7, 0.3),
    EXPERTS: Prior(0.7, 0.3),
    "vote": Prior(0.7, 0.15),
    "probe": Prior(5.0, 1.0),
    FEATURES: Prior(1.0, 0.3),
}
"""The weights before any reading, of the model beside the experts and of each expert among them:
the best of a few on development sets with 32 labels (docs/reading.md), of the feature model on
five with 32 and with 96 or 128."""

OTHER_PRIOR = Prior(0.7, 0.15)
"""Of an expert that is not in :data:`PRIORS`."""

FEATURES_ODDS = 4.0
"""Logarithm of the odds of the feature model alone before any reading, the best of 0 to 4 on five
development sets. Its leave-one-out answers are honest; those of vote and probe look better than
they are, by 1 to 3 nats in all: the weights of fields and the penalty of the probe were chosen with
the labels of the examples that are left out."""

SCALE_SPREAD = 0.5
"""Standard deviation of the prior on the logarithm of the scale of all weights."""

PER_LABEL = 5
"""Left out, an example of a label with fewer than this many takes so much of what the experts
learned of the label with it that they look worse than they will be: it is not used for weights."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log-probabilities of every source for n rows, over L labels.

    Attributes:
        scores: source → table of shape (n, L), unnormalised. The language model is ``model``; it
            is absent where it was not asked.
    """

    scores: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        opinions: Sequence[Opinion],
        model: ArrayLike | None = None,
        experts: ArrayLike | None = None,
    ) -> Self:
        """From the experts' opinions on rows, the model's calibrated probabilities and those that
        the experts give together.

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
        weights: of each source's log-probabilities.
        readings: labelled examples the weights were fitted on; 0: they are the prior's.

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
            KeyError: a source with a weight is absent.
        """
        return softmax(weighted_sum(self.weights, evidence))


def prior_fusion(sources: Iterable[str]) -> Fusion:
    """The weights of some sources before any reading.

    >>> prior_fusion(["vote", "probe"])
    Fusion(weights={'vote': 0.7, 'probe': 5.0}, readings=0)
    >>> prior_fusion([MODEL, EXPERTS]).weights
    {'model': 0.7, 'experts': 0.7}
    """
    return Fusion({name: PRIORS.get(name, OTHER_PRIOR).weight for name in sources})


def expert_priors(experts: Iterable[str]) -> list[tuple[Fusion, float]]:
    """The ways in which experts may answer without the model: the prior of each, and the
    logarithm of its odds against the others before any reading.

    The feature model reads the relations of fields; vote and probe compare whole rows. Where a
    task is decided by one kind, the other only adds noise, and a fused weight cannot fall fast
    enough. So each kind alone is a component too.

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
    """Which examples weights are fitted on: those of labels with :data:`PER_LABEL` examples. All,
    where a single label has so many and most of the examples: from one label only, the surest
    answer would look best.

    Args:
        counts: examples per label, shape (L,).
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
    """The weights with the least log loss under the prior, none below 0.

    Nelder and Mead's simplex search, which needs no derivative. A weight that is 0 in the prior
    stays 0.

    Args:
        evidence: leave-one-out, of labelled examples.
        labels: positions of the true labels, one per row.
        prior: of the weights.
        usable: which rows count (see :data:`PER_LABEL`); ``None``: all. With fewer than
            :data:`~ecomfs.calibration.calibrate.MINIMUM` of them the weights are the prior's.
        weights: how many examples each row stands for; ``None``: itself.
    """
    from scipy.optimize import minimize  # a fifth of a second that only a fit needs

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
        """From moves in standard deviations; the last one is the scale's."""
        moved = np.maximum(start + spread * moves[:-1], 0.0)
        found = (moved * float(np.exp(SCALE_SPREAD * moves[-1]))).tolist()
        return {**prior.weights, **dict(zip(free, found, strict=True))}

    def loss(moves: FloatArray) -> float:
        p = softmax(weighted_sum(moved_by(moves), evidence))[np.arange(len(truth)), truth]
        away = (moves**2).sum() / (2 * len(truth))
        return float(away - (each * np.log(np.maximum(p, FLOOR))).mean())

    size = len(free) + 1
    # A first simplex of half a standard deviation per side: from zeros the default is tiny.
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
