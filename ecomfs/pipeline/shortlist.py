"""Of many labels, the few that a row is likely to have: chosen by the experts, put to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecomfs.calibration import Evidence, prior_fusion
from ecomfs.experts import Experts
from ecomfs.types import Opinion, Posterior

UNKNOWN_RECALL = 0.5
"""Of shortlists, where no label has two examples to measure it on."""


@dataclass(frozen=True, slots=True)
class LabelShortlist:
    """Of many labels, the few that the experts find likeliest are put to the model.

    Attributes:
        size: labels on a row's shortlist.
        recall: how often the true label is on it, leave-one-out on the pool, of labels with two
            examples or more. What is missing from 1 is the probability that labels off the list
            keep.

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
        """Measure the recall of shortlists of a size on the experts' own pool."""
        scores, truth = experts.own()
        p = prior_fusion(scores).apply(Evidence(scores))
        rank = (p > p[np.arange(len(truth)), truth][:, None]).sum(axis=1)
        # The only example of a label cannot be found by others; new rows of that label can.
        shown = np.bincount(truth, minlength=p.shape[1])[truth] > 1
        if not shown.any():
            return cls(size, max(UNKNOWN_RECALL, size / p.shape[1]))
        # One example more, that is missed: a recall of 1 is never certain. It cannot be worse
        # than that of a list drawn at random.
        found = (rank[shown] < size).sum() / (shown.sum() + 1)
        return cls(size, max(float(found), size / p.shape[1]))

    def choose(self, opinions: Sequence[Opinion]) -> list[tuple[int, ...]]:
        """For each row, positions of the likeliest labels, in the order of the label space (an
        order by likelihood would show the model the experts' answer)."""
        if not opinions:
            return []
        p = prior_fusion(opinions[0].scores).apply(Evidence.of(opinions))
        best = np.sort(np.argsort(-p, axis=1, kind="stable")[:, : self.size], axis=1)
        return [tuple(places) for places in best.tolist()]

    def widen(self, posterior: Posterior, places: Sequence[int], labels: int) -> Posterior:
        """A posterior over the shortlist as one over all labels."""
        rest = labels - len(places)
        if not posterior.probabilities or not rest:
            return posterior
        out = [(1 - self.recall) / rest] * labels
        for place, p in zip(places, posterior.probabilities, strict=True):
            out[place] = self.recall * p
        return replace(posterior, probabilities=tuple(out))
