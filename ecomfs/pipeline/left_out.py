"""Samples the examples of the pool that are read leave-one-out.

Readings are the cost of a fit. Examples that are hard for the experts are more informative about
the weights of model and experts than easy ones. They are sampled more often, and each is weighted
by its inverse probability, so that sums are unbiased (Horvitz and Thompson 1952, *JASA* 47). The
sample is nested (sequential Poisson sampling, Ohlsson 1998, *Journal of Official Statistics* 14):
its first n examples are a smaller sample of the same kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import Evidence, prior_fusion
from ecomfs.experts import Experts
from ecomfs.pool import sample_queries
from ecomfs.types import Example

EVEN = 0.5
"""The uniform part of the sampling probabilities; its inverse is the largest possible weight."""


@dataclass(frozen=True, slots=True)
class LeftOutDraw:
    """A sample of examples for leave-one-out readings, in reading order.

    Attributes:
        examples: the examples.
        chance: sampling probabilities of all examples of the pool, the sampled ones first; they sum
            to one. Empty: uniform.

    >>> LeftOutDraw((Example("1", {}, "a"),)).weights(1).tolist()
    [1.0]
    """

    examples: tuple[Example, ...]
    chance: tuple[float, ...] = ()

    def weights(self, n: int) -> NDArray[np.float64]:
        """Inverse-probability weights of the first n examples, up to a common factor."""
        if not self.chance:
            return np.ones(n)
        chance = np.array(self.chance)
        included = np.minimum(1.0, n * chance)
        for _ in range(len(chance)):  # redistribute the surplus of probabilities above one
            free = included < 1
            room = n - (~free).sum()
            if not free.any() or abs(included[free].sum() - room) < 1e-9:
                break
            included[free] = np.minimum(1.0, chance[free] * room / chance[free].sum())
        return np.asarray(1 / included[:n])


def draw_left_out(
    examples: Sequence[Example], most: int, seed: int, experts: Experts | None = None
) -> LeftOutDraw:
    """Sample at most ``most`` examples of a pool, without synthetic ones.

    Parameters
    ----------
    examples
        The pool.
    most
        Largest number of examples.
    seed
        Seed of the draw.
    experts
        The experts of the pool, to find hard examples; ``None``: sample uniformly, as guarantees
        need.

    Returns
    -------
    LeftOutDraw
        The sample, in random order.

    Examples
    --------
    >>> pool = [Example(str(i), {"text": "x"}, "ab"[i % 2]) for i in range(10)]
    >>> [len(draw_left_out(pool, n, seed=0).examples) for n in (4, 20)]
    [4, 10]
    """
    real = sample_queries(examples, len(examples), seed)
    rng = np.random.default_rng([seed, len(real)])
    if experts is None or len(real) <= most:
        order = rng.permutation(len(real))[: min(most, len(real))]
        return LeftOutDraw(tuple(real[i] for i in order))
    hard = _hardness(real, experts)
    chance = EVEN / len(real) + (1 - EVEN) * hard / hard.sum()
    order = np.argsort(rng.random(len(real)) / chance, kind="stable")
    return LeftOutDraw(tuple(real[i] for i in order[:most]), tuple(chance[order].tolist()))


def needs_uniform_draw(options: Mapping[str, Any]) -> bool:
    """Whether examples must be sampled uniformly: guarantees need readings distributed like new
    rows, and without experts it is not known which examples are hard.

    >>> needs_uniform_draw({"fusion": True}), needs_uniform_draw({"fusion": True, "precision": 0.9})
    (False, True)
    """
    asked = (options.get(name) for name in ("precision", "coverage", "novel_below"))
    return not options.get("fusion", True) or any(value is not None for value in asked)


def _hardness(examples: Sequence[Example], experts: Experts) -> NDArray[np.float64]:
    """One minus the experts' leave-one-out probability of the true label; the mean for examples
    without one."""
    scores, labels = experts.leave_one_out()
    p = prior_fusion(scores).apply(Evidence(scores))
    lacking = 1 - p[np.arange(len(labels)), labels]
    pool = experts.data.retriever.examples
    known = {pool[place].id: lacking[row] for row, place in enumerate(experts.data.places)}
    mean = float(lacking.mean()) if len(lacking) else 1.0
    return np.maximum([known.get(e.id, mean) for e in examples], 1e-6)


__all__ = ["LeftOutDraw", "draw_left_out", "needs_uniform_draw"]
