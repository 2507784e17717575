"""Which examples of the pool are read leave-one-out.

Readings are what a fit costs. Examples that the experts find hard say more about the weights of
model and experts than those that everybody gets right: they are drawn more often, and each counts
by the inverse of its probability, so that sums are those of a random draw on average (Horvitz and
Thompson 1952, *JASA* 47). The draw is nested (sequential Poisson sampling, Ohlsson 1998, *Journal
of Official Statistics* 14): its beginning is a smaller draw of the same kind.
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
"""The part of the probability that all examples share evenly: no weight is above its inverse."""


@dataclass(frozen=True, slots=True)
class LeftOutDraw:
    """Examples in the order in which they are read.

    Attributes:
        examples: of the pool.
        chance: of each example of the pool, those that are read first; they sum to one. Empty:
            all count the same.

    >>> LeftOutDraw((Example("1", {}, "a"),)).weights(1).tolist()
    [1.0]
    """

    examples: tuple[Example, ...]
    chance: tuple[float, ...] = ()

    def weights(self, n: int) -> NDArray[np.float64]:
        """How many examples each of the first n stands for, up to a common factor."""
        if not self.chance:
            return np.ones(n)
        chance = np.array(self.chance)
        included = np.minimum(1.0, n * chance)
        for _ in range(len(chance)):  # what is certain leaves its surplus to the others
            free = included < 1
            room = n - (~free).sum()
            if not free.any() or abs(included[free].sum() - room) < 1e-9:
                break
            included[free] = np.minimum(1.0, chance[free] * room / chance[free].sum())
        return np.asarray(1 / included[:n])


def draw_left_out(
    examples: Sequence[Example], most: int, seed: int, experts: Experts | None = None
) -> LeftOutDraw:
    """At most ``most`` examples of a pool, none of them synthetic.

    Parameters
    ----------
    examples
        The pool.
    most
        Largest number of examples.
    seed
        Of the draw.
    experts
        Of the pool, by which hard examples are known; ``None``: all are drawn alike, which
        guarantees need.

    Returns
    -------
    LeftOutDraw
        In a random order where there is a choice of examples.

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


def draws_alike(options: Mapping[str, Any]) -> bool:
    """Whether examples have to be drawn alike: guarantees are fitted on readings that are like new
    rows, and without the experts no example is known to be hard.

    >>> draws_alike({"fusion": True}), draws_alike({"fusion": True, "precision": 0.9})
    (False, True)
    """
    asked = (options.get(name) for name in ("precision", "coverage", "novel_below"))
    return not options.get("fusion", True) or any(value is not None for value in asked)


def _hardness(examples: Sequence[Example], experts: Experts) -> NDArray[np.float64]:
    """What the experts' answer lacks, leave-one-out; of examples that they were not asked about,
    the mean."""
    scores, labels = experts.own()
    p = prior_fusion(scores).apply(Evidence(scores))
    lacking = 1 - p[np.arange(len(labels)), labels]
    pool = experts.data.retriever.examples
    known = {pool[place].id: lacking[row] for row, place in enumerate(experts.data.places)}
    mean = float(lacking.mean()) if len(lacking) else 1.0
    return np.maximum([known.get(e.id, mean) for e in examples], 1e-6)


__all__ = ["LeftOutDraw", "draw_left_out", "draws_alike"]
