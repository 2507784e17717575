"""Baselines that ignore the row: the most frequent label, and labels drawn from the priors.

>>> from ecomfs_eval.baselines import LabelledRows
>>> train = LabelledRows.of(["good", "good", "bad"])
>>> majority(train, LabelledRows.of(["bad", "good"])).predicted
('good', 'good')
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecomfs_eval.baselines.base import Baseline, priors
from ecomfs_eval.baselines.data import LabelledRows
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions


def _prior(train: LabelledRows, test: LabelledRows, seed: int) -> tuple[list[str], FloatArray]:
    classes, shares = priors(train)
    return classes, np.tile(shares, (len(test), 1))


majority = Baseline(
    "majority",
    "Majority label",
    "the most frequent label of the labelled rows; its probabilities are their label shares",
    _prior,
)


class _Random(Baseline):
    """The priors as probabilities; the answer is drawn from them."""

    __slots__ = ()

    def __call__(
        self, train: LabelledRows, test: LabelledRows, seed: int = 0
    ) -> Predictions | Undefined:
        p = Baseline.__call__(self, train, test, seed)
        if isinstance(p, Undefined):
            return p
        classes, shares = priors(train)
        drawn = np.random.default_rng(seed).choice(len(classes), size=len(test), p=shares)
        return replace(p, predicted=tuple(classes[i] for i in drawn))


prior_random = _Random(
    "prior_random",
    "Random by prior",
    "labels drawn with the label shares of the labelled rows, which are its probabilities",
    _prior,
)
