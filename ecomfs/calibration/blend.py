"""Bayesian model averaging over fusion models.

The weights that fuse model and experts (:mod:`ecomfs.calibration.fusion`) assume that both are
informative. But a small model may be at chance where the neighbours are good, a large one may know
more than the experts can add, or none may be informative. So four components are averaged: model
and experts together, the experts alone, the model alone, and the label shares alone. The weight of
each is proportional to its likelihood on examples that were read leave-one-out (Hoeting et al.
1999, *Statistical Science* 14(4)). If there is a feature model, the experts alone are averaged in
the same way: all of them, the feature model alone, and those without it
(:func:`~ecomfs.calibration.fusion.expert_priors`).

For a task with a feature model, the experts use numbers and relations that a language model reads
badly from words, and a few readings would leave much weight to an uninformative model. There the
model is used only if held-out answers show that it adds something (:func:`adds_to_experts`).

The weights tend to 0 and 1, as if the best component were never wrong. So its error rate is
estimated too (:func:`error_rate`), and this weight goes to the label shares.

Forty examples are enough to tell an expert at chance from an informative one, but not to tell two
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
"""The component of the calibrated model alone."""
EXPERTS_ALONE = Fusion({EXPERTS: 1.0})
"""The component of the experts' common answer alone."""
_ROUNDING = 1e-9
"""Differences of probabilities that may be rounding errors."""
_LARGEST = 700.0
"""Largest exponent for which ``exp`` does not overflow."""


@dataclass(frozen=True, slots=True)
class Blend:
    """Fusion models and their weights in the average.

    Attributes:
        components: the fusion models.
        weights: one per component, and one for the label shares if they are given; they sum to
            one.
        shares: label shares, L numbers that sum to one; empty: they are not a component.

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
        """Averaged distributions, shape (n, L). Unused sources may be absent."""
        out = np.zeros(evidence.shape)
        for component, weight in zip(self.components, self.weights, strict=False):
            if weight:
                out += weight * component.apply(evidence)
        if self.shares:
            out += self.weights[-1] * np.array(self.shares)
        return out

    @property
    def asks_model(self) -> bool:
        """Whether any answer depends on the language model.

        >>> Blend((MODEL_ALONE, EXPERTS_ALONE), (0.0, 1.0)).asks_model
        False
        """
        used = zip(self.components, self.weights, strict=False)
        return any(weight and component.weights.get(MODEL) for component, weight in used)

    def decided(
        self, evidence: Evidence, calibration: Calibration | None = None
    ) -> NDArray[np.bool_]:
        """For each row, whether it is decided: no reading of the model could change the experts'
        likeliest label.

        A component with the model adds its calibrated log-probabilities with a weight. These are
        bounded, since probabilities are clipped at :data:`~ecomfs.calibration.calibrate.FLOOR`
        before and after calibration, which adds an offset and divides by a temperature. So there is
        a largest amount by which the model can favour another label over the experts' label, in
        each component and in the average. If this is not enough to change the answer to any other
        label, the row is decided.

        With two labels the bound is exact. With more it is computed for each other label
        separately, so that some decided rows may not be found, but no other row counts as decided.

        Args:
            evidence: evidence of n rows with the experts' common answer, without the model.
            calibration: calibration of the model's readings; ``None``: they are not calibrated.

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
        """A copy for another label space, matched by name; a new label gets the smallest share.

        >>> Blend((MODEL_ALONE,), (0.5, 0.5), (0.75, 0.25)).relabelled("ab", "abc").shares
        (0.6, 0.2, 0.2)
        """
        if not self.shares:
            return self
        known = dict(zip(before, self.shares, strict=True))
        if set(before) == set(after):  # the same numbers: a profile gives the answers of its fit
            return replace(self, shares=tuple(known[name] for name in after))
        shares = [known.get(name, min(self.shares)) for name in after]
        return replace(self, shares=tuple(share / sum(shares) for share in shares))


def _reach(calibration: Calibration | None, size: int) -> FloatArray:
    """The largest difference, in nats, of the model's calibrated log-probabilities of a label
    (column) and another label (row)."""
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
    """The largest difference of the probabilities of each label and the top label; below 0 if the
    label is always less likely."""
    rest = {name: weight for name, weight in component.weights.items() if name != MODEL}
    scores, rows = weighted_sum(rest, evidence), np.arange(len(top))
    weight = component.weights.get(MODEL, 0.0)
    if not weight:
        p = softmax(scores)
        return np.asarray(p - p[rows, top][:, None])
    apart = scores - scores[rows, top][:, None] + weight * reach
    # The sum of both probabilities: at most 1, and at least what the top label keeps if the model
    # favours every other label as much as possible.
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
    """Fit the first component, then weight it, the others and the label shares by their likelihood,
    and correct for the error rate. All have the same prior weight, except for the alternatives.

    Args:
        evidence: leave-one-out evidence of labelled examples.
        labels: positions of the true labels, one per row.
        shares: label shares in the pool.
        prior: prior of the first component's weights.
        others: further components, which are not fitted.
        usable: see :func:`~ecomfs.calibration.fusion.fit_fusion`; if too few rows are usable, the
            first component gets all the weight and keeps its prior.
        alternatives: components to fit in the same way, placed after the first one: the prior of
            each, and its prior log-odds against the others.
        weights: number of examples that each row represents; ``None``: 1 each.

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
"""The prior of the error rate is Beta(0.5, this), with a mean of about 2 %. With Jeffreys' prior,
Beta(0.5, 0.5), answers were underconfident by 0.01 to 0.02 nats when all of 32 examples were right;
without an error rate they were overconfident on other data."""


def error_rate(given: ArrayLike, base: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The share of rows for which the average is no better than the label shares: its posterior
    mean with the prior Beta(0.5, :data:`RIGHT_BEFORE`).

    Args:
        given: probability of the true label of each example.
        base: share of that label in the pool.
        weights: number of examples that each represents; ``None``: 1 each.

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
    """Whether model and experts together have a lower log loss than the experts alone, by more than
    one standard error of the mean difference (the one-standard-error rule, Breiman et al. 1984,
    *Classification and Regression Trees*, 3.4.3).

    Args:
        experts: held-out answers of the experts alone, shape (n, L).
        fused: held-out fused answers, shape (n, L).
        labels: positions of the true labels, one per row.
        weights: number of examples that each row represents; ``None``: 1 each.

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
    # With equal weights this is the division by n - 1.
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
    """Cross-fitted answers for the labelled examples, shape (n, L), on which thresholds can be
    chosen. The arguments are those of :func:`fit_blend`.

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
