"""Several accounts of who knows, each believed as far as labelled examples bear it out.

Weights that fuse model and experts (:mod:`ecomfs.calibration.fusion`) assume that each of them
knows something. A small model may be at chance on a task where the neighbours are good, or the
other way round, or none may know anything. So four fusion models are averaged: model and experts
together, the experts alone, the model alone, and the label shares alone. The weight of each is
proportional to its likelihood on examples that were read leave-one-out (Bayesian model averaging,
Hoeting et al. 1999, *Statistical Science* 14(4)).

Averaging ends in believing one account as if it were never wrong. How often it is, is estimated
too (:func:`doubtful_share`), and for that share of rows nobody is taken to know anything.

Forty examples tell an expert at chance from one that knows, long before they could tell two good
weights apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecomfs.calibration.calibrate import FLOOR, MINIMUM, halves
from ecomfs.calibration.fusion import PRIOR, Evidence, Floats, Fusion, fit_fusion

MODEL_ALONE = Fusion(1.0, 0.0, 0.0)
"""The account in which only the calibrated model knows."""


@dataclass(frozen=True, slots=True)
class Blend:
    """Accounts and how far each is believed.

    Attributes:
        accounts: weights of model and experts.
        beliefs: one an account, and one more for the shares where there are any; they sum to one.
        shares: of the labels, L numbers that sum to one; empty: that nobody knows is no account.

    >>> evidence = Evidence(np.array([[0.6, 0.4]]), np.array([[0.3, 0.7]]), np.array([[0.4, 0.6]]))
    >>> model, vote = Fusion(1.0, 0.0, 0.0), Fusion(0.0, 1.0, 0.0)
    >>> Blend((model, vote), (0.5, 0.5)).apply(evidence).round(2).tolist()
    [[0.45, 0.55]]
    >>> Blend((model,), (0.0, 1.0), (0.2, 0.8)).apply(evidence).round(2).tolist()
    [[0.2, 0.8]]
    """

    accounts: tuple[Fusion, ...]
    beliefs: tuple[float, ...]
    shares: tuple[float, ...] = ()

    def apply(self, evidence: Evidence) -> Floats:
        """Distributions, shape (n, L). Experts that no account listens to are not looked at."""
        out = np.zeros(evidence.vote.shape)
        for account, belief in zip(self.accounts, self.beliefs, strict=False):
            if belief:
                out += belief * account.apply(evidence)
        if self.shares:
            out += self.beliefs[-1] * np.array(self.shares)
        return out


def fit_blend(
    evidence: Evidence,
    labels: Sequence[int] | NDArray[np.int64],
    shares: Sequence[float],
    prior: Fusion = PRIOR,
    others: Sequence[Fusion] = (),
    usable: NDArray[np.bool_] | None = None,
) -> Blend:
    """Fit the weights of the first account, and believe it, the others and the shares by what
    they say of the labels, less what remains doubtful. Beforehand all are believed alike.

    Args:
        evidence: leave-one-out, of labelled examples.
        labels: positions of the true labels, one a row.
        shares: of the labels in the pool.
        prior: of the first account's weights.
        others: further accounts, as they are.
        usable: as for :func:`~ecomfs.calibration.fusion.fit_fusion`; where they are too few, the
            first account is believed alone, with the weights of its prior.
    """
    truth = np.asarray(labels, dtype=np.int64)
    rows = np.arange(len(truth)) if usable is None else np.flatnonzero(usable)
    accounts = (fit_fusion(evidence, truth, prior, usable), *others)
    if len(rows) < MINIMUM:
        return Blend(accounts, (1.0,) + (0.0,) * len(accounts), tuple(shares))
    seen = evidence.part(rows)
    given = [account.apply(seen)[np.arange(len(rows)), truth[rows]] for account in accounts]
    given.append(np.asarray(shares)[truth[rows]])
    told = np.array([np.log(np.maximum(p, FLOOR)).sum() for p in given])
    beliefs = np.exp(told - told.max())
    beliefs /= beliefs.sum()
    doubt = doubtful_share(beliefs @ np.array(given), given[-1])
    beliefs *= 1 - doubt
    beliefs[-1] += doubt
    return Blend(accounts, tuple(beliefs.tolist()), tuple(shares))


def doubtful_share(said: ArrayLike, base: ArrayLike) -> float:
    """The share of rows about which nothing is known after all, whoever is believed.

    Its mean under the likelihood of the labels, with Jeffreys' prior of a share. Where n rows of
    two labels were all right it is about 1 / n: so few rows do not bear out more certainty than
    that, and a label that the accounts hold for impossible costs no more than they have earned.

    Args:
        said: probability given to the true label of each example.
        base: the share of that label in the pool.

    >>> round(doubtful_share([0.999] * 32, [0.5] * 32), 3)
    0.032
    >>> round(doubtful_share([0.999] * 30 + [0.001] * 2, [0.5] * 32), 3)
    0.152
    """
    p, q = np.asarray(said, dtype=np.float64), np.asarray(base, dtype=np.float64)
    share = (np.arange(1000) + 0.5) / 1000
    told = np.log(np.maximum(np.outer(1 - share, p) + np.outer(share, q), FLOOR)).sum(axis=1)
    told -= 0.5 * np.log(share * (1 - share))
    weight = np.exp(told - told.max())
    return float(share @ weight / weight.sum())


def cross_fitted(
    evidence: Evidence,
    labels: Sequence[int] | NDArray[np.int64],
    shares: Sequence[float],
    prior: Fusion = PRIOR,
    others: Sequence[Fusion] = (),
    usable: NDArray[np.bool_] | None = None,
) -> Floats:
    """Answers for the labelled examples themselves, shape (n, L): each half by what was fitted on
    the other, so that thresholds may be chosen on them."""
    truth = np.asarray(labels, dtype=np.int64)
    out = np.empty_like(evidence.vote)
    pair = halves(truth)
    for held, fitted in (pair, pair[::-1]):
        counting = None if usable is None else usable[fitted]
        blend = fit_blend(evidence.part(fitted), truth[fitted], shares, prior, others, counting)
        out[held] = blend.apply(evidence.part(held))
    return out


__all__ = ["MODEL_ALONE", "Blend", "cross_fitted", "doubtful_share", "fit_blend"]
