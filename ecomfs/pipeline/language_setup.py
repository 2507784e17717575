"""How rows of one language are asked, and of many labels only the few that a row may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecomfs.calibration import PRIOR_CHEAP, Calibration, Evidence, cheap_answer
from ecomfs.engine.protocol import Engine, encode_all
from ecomfs.errors import EcomfsError
from ecomfs.experts import Experts, Opinion
from ecomfs.prompt import Asked, PromptBuilder
from ecomfs.readout import Readout
from ecomfs.types import Posterior, Prompt


@dataclass(frozen=True, slots=True)
class LanguageSetup:
    """How rows of one language are asked: the prompt builder, the read-out that fits it, and the
    calibration of its posteriors (``None``: as they are read)."""

    builder: PromptBuilder
    readout: Readout
    calibration: Calibration | None = None

    def prompts(
        self, asked: Sequence[Asked], engine: Engine, budget: int | None
    ) -> list[Prompt | EcomfsError]:
        """The prompts of rows for an engine, as of :meth:`PromptBuilder.build_all`."""
        tokenizer = engine.tokenizer
        return self.builder.build_all(
            asked,
            encode_all=None
            if tokenizer is None
            else lambda texts: encode_all(tokenizer, texts, bos=True),
            budget=budget,
        )


UNKNOWN_RECALL = 0.5
"""Of shortlists, where no label has two examples to measure it on."""


@dataclass(frozen=True, slots=True)
class LabelShortlist:
    """Of many labels, the few that the cheap experts think likeliest are put to the model.

    Attributes:
        size: labels on a row's shortlist.
        recall: how often the true label is on it, leave-one-out on the pool, of labels with two
            examples or more. What is missing from 1 is the probability that labels off the list
            keep.
    """

    size: int
    recall: float

    @classmethod
    def fit(cls, experts: Experts, size: int) -> LabelShortlist:
        """Measure the recall of shortlists of a size on the experts' own pool."""
        votes, scores, truth = experts.own()
        p = PRIOR_CHEAP.apply(Evidence(np.full_like(votes, np.nan), votes, scores))
        rank = (p > p[np.arange(len(truth)), truth][:, None]).sum(axis=1)
        # The only example of a label cannot be found by others; new rows of that label can.
        shown = np.bincount(truth, minlength=p.shape[1])[truth] > 1
        if not shown.any():
            return cls(size, max(UNKNOWN_RECALL, size / p.shape[1]))
        # One example more, that is missed: a recall of 1 is never certain. It cannot be worse
        # than that of a list by lot.
        found = (rank[shown] < size).sum() / (shown.sum() + 1)
        return cls(size, max(float(found), size / p.shape[1]))

    def shortlist(self, opinion: Opinion) -> tuple[int, ...]:
        """Positions of the likeliest labels, in the order of the label space (an order by
        likelihood would tell the model what the experts think)."""
        p = np.array(cheap_answer(PRIOR_CHEAP, opinion))
        return tuple(sorted(np.argsort(-p, kind="stable")[: self.size].tolist()))

    def widen(self, posterior: Posterior, places: Sequence[int], labels: int) -> Posterior:
        """A posterior over the shortlist as one over all labels."""
        rest = labels - len(places)
        if not posterior.probabilities or not rest:
            return posterior
        out = [(1 - self.recall) / rest] * labels
        for place, p in zip(places, posterior.probabilities, strict=True):
            out[place] = self.recall * p
        return replace(posterior, probabilities=tuple(out))


__all__ = ["LabelShortlist", "LanguageSetup"]
