"""Label shortlists: with many labels, the experts choose a few for the prompt of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecomfs.calibration import Evidence, prior_fusion
from ecomfs.experts import Experts
from ecomfs.types import Opinion, Posterior

UNKNOWN_RECALL = 0.5
"""Recall of shortlists if no label has two examples to measure it."""


@dataclass(frozen=True, slots=True)
class LabelShortlist:
    """A shortlist: the labels that the experts find likeliest are in the prompt of a row.

    Attributes:
        size: number of labels on a shortlist.
        recall: how often the true label is on it, leave-one-out on the pool, for labels with two
            or more examples. Labels off the list share the probability 1 − recall.

    >>> shortlist = LabelShortlist(2, 0.9)
    >>> shortlist.choose([Opinion({"vote": (-2.0, -0.3, -1.0)})])
    [(1, 2)]
    >>> shortlist.widen(Posterior((0.5, 0.5)), (1, 2), labels=3).probabilities
    (0.09999999999999998, 0.45, 0.45)
    """

    size: int
    recall: float

    @classmethod
    def fit(cls, experts: Experts, size: int) -> LabelShortlist:
        """Measure the recall of shortlists of this size on the pool."""
        scores, truth = experts.leave_one_out()
        p = prior_fusion(scores).apply(Evidence(scores))
        rank = (p > p[np.arange(len(truth)), truth][:, None]).sum(axis=1)
        # A label with one example cannot be found leave-one-out, but new rows with it can.
        shown = np.bincount(truth, minlength=p.shape[1])[truth] > 1
        if not shown.any():
            return cls(size, max(UNKNOWN_RECALL, size / p.shape[1]))
        # Add one missed example, because a recall of 1 is never certain. The recall is at least
        # that of a random list.
        found = (rank[shown] < size).sum() / (shown.sum() + 1)
        return cls(size, max(float(found), size / p.shape[1]))

    def choose(self, opinions: Sequence[Opinion]) -> list[tuple[int, ...]]:
        """For each row, positions of the likeliest labels, in the order of the label space (an
        order by likelihood would reveal the experts' prediction to the model)."""
        if not opinions:
            return []
        p = prior_fusion(opinions[0].scores).apply(Evidence.of(opinions))
        best = np.sort(np.argsort(-p, axis=1, kind="stable")[:, : self.size], axis=1)
        return [tuple(places) for places in best.tolist()]

    def widen(self, posterior: Posterior, places: Sequence[int], labels: int) -> Posterior:
        """Extend a posterior over the shortlist to all labels."""
        rest = labels - len(places)
        if not posterior.probabilities or not rest:
            return posterior
        out = [(1 - self.recall) / rest] * labels
        for place, p in zip(places, posterior.probabilities, strict=True):
            out[place] = self.recall * p
        return replace(posterior, probabilities=tuple(out))
