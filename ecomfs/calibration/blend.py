"""Bayesian model averaging over fusion models.

Weights that fuse model and experts (:mod:`ecomfs.calibration.fusion`) assume that both are
informative. A small model may be at chance on a task where the neighbours are good, a large one
may know more than they can add, or none may be informative. So components are averaged: model and
experts together, the experts alone, the model alone, and the shares of the labels alone. The weight
of each is proportional to its likelihood on examples that were read leave-one-out (Hoeting et al.
1999, *Statistical Science* 14(4)). The experts alone are weighed in the same way among themselves:
where there is a feature model, all of them, the feature model alone, and those without it
(:func:`~ecomfs.calibration.fusion.expert_priors`).

Where a task has a feature model, the experts read numbers and relations that a language model reads
badly from words, and few readings leave much weight to a model that knows nothing. There the model
takes part only if held-out answers show that it adds something (:func:`adds_to_experts`).

The weights end at 0 and 1 as if the best component were never wrong. So its error rate is
estimated too (:func:`error_rate`), and moves to the label shares.

Forty examples tell an expert at chance from an informative one, long before they could tell two
good weights apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecomfs.calibration.calibrate import (
    FLOOR,
    MINIMUM,
    Calibration,
    FloatArray,
    folds,
    softmax,
    weights_of,
)
from ecomfs.calibration.fusion import EXPERTS, MODEL, Evidence, Fusion, fit_fusion, weighted_sum

MODEL_ALONE = Fusion({MODEL: 1.0})
"""The component that is the calibrated model alone."""
EXPERTS_ALONE = Fusion({EXPERTS: 1.0})
"""The component that is the experts' common answer alone."""
_ROUNDING = 1e-9
"""Differences of probabilities that the order of additions may change."""
_LARGEST = 700.0
"""Exponents above it have no double-precision number."""


@dataclass(frozen=True, slots=True)
class Blend:
    """Fusion models and their weights in the average.

    Attributes:
        components: the fusion models.
        weights: one per component, and one more for the label shares where there are any; they
            sum to one.
        shares: of the labels, L numbers that sum to one; empty: they are no component.

    >>> evidence = Evidence({"model": np.log([[0.6, 0.4]]), "vote": np.log([[0.3, 0.7]])})
    >>> Blend((MODEL_ALONE, Fusion({"vote": 1.0})), (0.5, 0.5)).apply(evidence).round(2).tolist()
    [[0.45, 0.55]]
    >>> Blend((MODEL_ALONE,), (0.0, 1.0), (0.2, 0.8)).apply(evidence).round(2).tolist()
    [[0.2, 0.8]]
    """

    components: tuple[Fusion, ...]
    weights: tuple[float, ...]
    shares: tuple[float, ...] = ()

    def apply(self, evidence: Evidence) -> FloatArray:
        """Averaged distributions, shape (n, L). Sources that no component uses may be absent."""
        out = np.zeros(evidence.shape)
        for component, weight in zip(self.components, self.weights, strict=False):
            if weight:
                out += weight * component.apply(evidence)
        if self.shares:
            out += self.weights[-1] * np.array(self.shares)
        return out

    @property
    def asks_model(self) -> bool:
        """Whether the language model has a part in any answer.

        >>> Blend((MODEL_ALONE, EXPERTS_ALONE), (0.0, 1.0)).asks_model
        False
        """
        used = zip(self.components, self.weights, strict=False)
        return any(weight and component.weights.get(MODEL) for component, weight in used)

    def decided(
        self, evidence: Evidence, calibration: Calibration | None = None
    ) -> NDArray[np.bool_]:
        """For each row, whether no reading of the model could change the label: the experts'
        likeliest one stays the answer.

        In a component with the model, its calibrated log-probabilities are added with a weight.
        They are bounded: no probability counts as less than
        :data:`~ecomfs.calibration.calibrate.FLOOR` before calibration, which adds an offset and
        divides by a temperature, nor after it. So there is a largest amount by which the model can
        favour another label over the experts' one, in each component, and with it in the average.
        Where this is not enough to turn the answer, for any other label, the row is decided.

        The bound is reached with two labels. With more it is taken for each other label by itself,
        so that it may leave a row to the model that no reading could turn, and never the reverse.

        Args:
            evidence: of n rows, without the model; with the experts' common answer.
            calibration: of the model's readings; ``None``: they stand as they are read.

        >>> rows = Evidence.of((), None, [[0.95, 0.05], [0.6, 0.4]])
        >>> Blend((EXPERTS_ALONE, MODEL_ALONE), (0.7, 0.3)).decided(rows).tolist()
        [True, False]
        >>> Blend((EXPERTS_ALONE, MODEL_ALONE), (1.0, 0.0)).decided(rows).tolist()
        [True, True]
        """
        n, size = evidence.shape
        if not self.asks_model:
            return np.ones(n, dtype=np.bool_)
        rows, top = np.arange(n), evidence.scores[EXPERTS].argmax(axis=1)
        reach = _reach(calibration, size)[top]
        ahead = np.zeros((n, size))
        for component, weight in zip(self.components, self.weights, strict=False):
            if weight:
                ahead += weight * _ahead(component, evidence, top, reach)
        if self.shares:
            shares = np.array(self.shares)
            ahead += self.weights[-1] * (shares - shares[top][:, None])
        ahead[rows, top] = -np.inf
        return np.asarray(ahead.max(axis=1, initial=-np.inf) < -_ROUNDING)

    def relabelled(self, before: Sequence[str], after: Sequence[str]) -> Blend:
        """The same for other labels, by their names: a label that is new has the least share.

        >>> Blend((MODEL_ALONE,), (0.5, 0.5), (0.75, 0.25)).relabelled("ab", "abc").shares
        (0.6, 0.2, 0.2)
        """
        if not self.shares or list(before) == list(after):
            return self
        known = dict(zip(before, self.shares, strict=True))
        shares = [known.get(name, min(self.shares)) for name in after]
        return replace(self, shares=tuple(share / sum(shares) for share in shares))


def _reach(calibration: Calibration | None, size: int) -> FloatArray:
    """By how much, in nats, the model's calibrated log-probability of a label (column) can be above
    that of another (line), at most."""
    most = float(-np.log(FLOOR))
    reach = np.full((size, size), most)
    if calibration is not None:
        offsets = np.array(calibration.offsets)
        apart = (most + offsets[None, :] - offsets[:, None]) / calibration.temperature
        reach = np.clip(apart, 0.0, most)
    np.fill_diagonal(reach, 0.0)
    return reach


def _ahead(
    component: Fusion, evidence: Evidence, top: NDArray[np.int64], reach: FloatArray
) -> FloatArray:
    """By how much the probability of each label can be above that of the top one, at most; below 0
    where it always is less likely."""
    rest = {name: weight for name, weight in component.weights.items() if name != MODEL}
    scores, rows = weighted_sum(rest, evidence), np.arange(len(top))
    weight = component.weights.get(MODEL, 0.0)
    if not weight:
        p = softmax(scores)
        return np.asarray(p - p[rows, top][:, None])
    apart = scores - scores[rows, top][:, None] + weight * reach
    # What the two labels have together: at most all, at least what the top one has left if the
    # model favours every other label as far as it can.
    least = 1 / np.exp(np.minimum(apart, _LARGEST)).sum(axis=1, keepdims=True)
    if apart.shape[1] == 2:
        least = np.ones_like(least)
    return np.asarray(np.tanh(apart / 2) * np.where(apart > 0, 1.0, least))


def fit_blend(
    evidence: Evidence,
    labels: Sequence[int] | NDArray[np.int64],
    shares: Sequence[float],
    prior: Fusion,
    others: Sequence[Fusion] = (),
    usable: NDArray[np.bool_] | None = None,
    *,
    alternatives: Sequence[tuple[Fusion, float]] = (),
    weights: ArrayLike | None = None,
) -> Blend:
    """Fit the first component, and weigh it, the others and the label shares by the likelihood of
    the labels, less the error rate. Before any reading all have the same weight, but for the
    alternatives.

    Args:
        evidence: leave-one-out, of labelled examples.
        labels: positions of the true labels, one per row.
        shares: of the labels in the pool.
        prior: of the first component's weights.
        others: further components, as they are.
        usable: as for :func:`~ecomfs.calibration.fusion.fit_fusion`; where they are too few, the
            first component has all the weight, and its prior.
        alternatives: components that are fitted as the first is, and stand after it: the prior of
            each, and the logarithm of its odds against the others before any reading.
        weights: how many examples each row stands for; ``None``: itself.

    >>> p = np.array([[0.8, 0.2], [0.2, 0.8]] * 20)
    >>> blend = fit_blend(Evidence({"model": np.log(p)}), [0, 1] * 20, (0.5, 0.5), MODEL_ALONE)
    >>> blend.weights[0] > 0.9
    True
    """
    truth = np.asarray(labels, dtype=np.int64)
    rows = np.arange(len(truth)) if usable is None else np.flatnonzero(usable)
    priors = (prior, *(given for given, _ in alternatives))
    each = weights_of(weights, len(truth))
    fitted = (fit_fusion(evidence, truth, given, usable, weights=each) for given in priors)
    components = (*fitted, *others)
    each = weights_of(each[rows], len(rows))
    if len(rows) < MINIMUM:
        return Blend(components, (1.0,) + (0.0,) * len(components), tuple(shares))
    seen = evidence.part(rows)
    given = [component.apply(seen)[np.arange(len(rows)), truth[rows]] for component in components]
    given.append(np.asarray(shares)[truth[rows]])
    likelihood = np.array([each @ np.log(np.maximum(p, FLOOR)) for p in given])
    likelihood[1 : len(priors)] += [odds for _, odds in alternatives]
    shared = np.exp(likelihood - likelihood.max())
    shared /= shared.sum()
    wrong = error_rate(shared @ np.array(given), given[-1], each)
    shared *= 1 - wrong
    shared[-1] += wrong
    return Blend(components, tuple(shared.tolist()), tuple(shares))


RIGHT_BEFORE = 20.0
"""The prior of the error rate is Beta(0.5, this): a good average is wrong in 2 % of the rows before
any reading. With Jeffreys' prior, Beta(0.5, 0.5), where 32 examples were all right the answers were
too modest by 0.01 to 0.02 nats; with no error rate at all they were too sure elsewhere."""


def error_rate(given: ArrayLike, base: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The share of rows for which the average is no better than the label shares.

    Its posterior mean under the prior Beta(0.5, :data:`RIGHT_BEFORE`).

    Args:
        given: probability given to the true label of each example.
        base: the share of that label in the pool.
        weights: how many examples each stands for; ``None``: itself.

    >>> round(error_rate([0.999] * 32, [0.5] * 32), 3)
    0.015
    >>> round(error_rate([0.999] * 30 + [0.001] * 2, [0.5] * 32), 3)
    0.065
    """
    p, q = np.asarray(given, dtype=np.float64), np.asarray(base, dtype=np.float64)
    share = (np.arange(1000) + 0.5) / 1000
    mixed = np.log(np.maximum(np.outer(1 - share, p) + np.outer(share, q), FLOOR))
    likelihood = mixed @ weights_of(weights, len(p))
    likelihood += (RIGHT_BEFORE - 1) * np.log(1 - share) - 0.5 * np.log(share)
    weight = np.exp(likelihood - likelihood.max())
    return float(share @ weight / weight.sum())


def adds_to_experts(
    experts: ArrayLike,
    fused: ArrayLike,
    labels: Sequence[int] | NDArray[np.int64],
    weights: ArrayLike | None = None,
) -> bool:
    """Whether model and experts together are better than the experts alone by more than one
    standard error of the mean difference in log loss (the one-standard-error rule, Breiman et al.
    1984, *Classification and Regression Trees*, 3.4.3): the simpler answer is kept unless the other
    is shown to be better.

    Args:
        experts: held-out answers of the experts alone, shape (n, L).
        fused: held-out common answers, shape (n, L).
        labels: positions of the true labels, one per row.
        weights: how many examples each row stands for; ``None``: itself.

    >>> alone = np.tile([0.5, 0.5], (16, 1))
    >>> adds_to_experts(alone, np.tile([[0.8, 0.2], [0.2, 0.8]], (8, 1)), [0, 1] * 8)
    True
    >>> adds_to_experts(alone, np.tile([0.8, 0.2], (16, 1)), [0, 1] * 8)
    False
    """
    truth = np.asarray(labels, dtype=np.int64)
    if not len(truth):
        return False
    each = weights_of(weights, len(truth))
    rows = np.arange(len(truth))
    alone, both = (
        np.log(np.maximum(np.asarray(p, dtype=np.float64)[rows, truth], FLOOR))
        for p in (experts, fused)
    )
    gain = both - alone
    mean = float(each @ gain / each.sum())
    # Divided as by n - 1 where all weights are equal.
    freedom = max(1 - float(each @ each) / float(each.sum()) ** 2, 1 / len(each))
    error = float(np.sqrt(each**2 @ (gain - mean) ** 2 / freedom) / each.sum())
    return mean > error


def cross_fitted(
    evidence: Evidence,
    labels: Sequence[int] | NDArray[np.int64],
    shares: Sequence[float],
    prior: Fusion,
    others: Sequence[Fusion] = (),
    usable: NDArray[np.bool_] | None = None,
    *,
    alternatives: Sequence[tuple[Fusion, float]] = (),
    weights: ArrayLike | None = None,
) -> FloatArray:
    """Answers for the labelled examples themselves, shape (n, L): each part by what was fitted on
    the others, so that thresholds may be chosen on them. Arguments as for :func:`fit_blend`.

    >>> p = np.array([[0.8, 0.2], [0.2, 0.8]] * 20)
    >>> evidence = Evidence({"model": np.log(p)})
    >>> cross_fitted(evidence, [0, 1] * 20, (0.5, 0.5), MODEL_ALONE).shape
    (40, 2)
    """
    truth = np.asarray(labels, dtype=np.int64)
    each, out = weights_of(weights, len(truth)), np.empty(evidence.shape)
    for held, fitted in folds(truth):
        counting = None if usable is None else usable[fitted]
        blend = fit_blend(
            evidence.part(fitted),
            truth[fitted],
            shares,
            prior,
            others,
            counting,
            alternatives=alternatives,
            weights=each[fitted],
        )
        out[held] = blend.apply(evidence.part(held))
    return out


__all__ = [
    "EXPERTS_ALONE",
    "MODEL_ALONE",
    "Blend",
    "adds_to_experts",
    "cross_fitted",
    "error_rate",
    "fit_blend",
]
