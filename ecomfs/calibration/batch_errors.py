"""Bounds on the number of wrong rows in a finite batch, from labelled rows like it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""Rounding error of a sum of probabilities."""


@lru_cache(maxsize=256)
def error_bounds(labelled: int, batch: int, most: int, delta: float) -> tuple[int, ...]:
    """Upper bounds on the number of wrong rows of a batch above a threshold, by the number of wrong
    labelled rows above it. They hold for all thresholds at once with probability at least
    ``1 - delta``.

    Of ``n + m`` exchangeable rows, ``n`` are labelled. Go through the wrong rows of both groups
    from the highest to the lowest confidence: whether the next one is labelled or in the batch is a
    draw without replacement from an urn with ``n`` and ``m`` balls, for any confidences and any
    positions of the wrong rows. So the pair (wrong labelled rows, wrong rows of the batch) above a
    falling threshold follows a uniformly random lattice path from (0, 0) to (n, m), and stops when
    there are no more wrong rows. A boundary that the whole path crosses with probability at most
    ``delta`` bounds the errors at every threshold, also at one chosen on the data. (For a sequence
    of tests this is not proved: the proof needs a first threshold that breaks the guarantee and is
    the same in every split, but here it is random.)

    The boundary has the same tail everywhere: with ``x`` labelled errors it is the smallest ``u``
    such that more than ``u`` balls of the batch come before the ``x + 1``-th labelled one with
    probability at most ``tail`` (a beta-binomial). ``tail`` is the largest value for which the
    crossing probability, counted over lattice paths, is at most ``delta``. Bounds above ``most``
    are not needed and use none of it.

    Source: the urn, Gazin, Blanchard, Roquain 2024, arXiv:2310.18108; simultaneous bounds along the
    path, Katsevich, Ramdas 2020, arXiv:1803.06790; here with exact counts of paths instead of their
    concentration inequalities.

    Args:
        labelled: number of labelled rows, at least 1.
        batch: number of rows of the batch, at least 1.
        most: largest bound of interest.
        delta: probability that a bound fails at any threshold.

    Returns:
        The bounds for 0, 1, … wrong labelled rows, up to the last that is at most ``most``.

    >>> error_bounds(50, 50, 5, 0.1)  # 30 accepted rows without a labelled error keep 90 %
    (3, 5)
    >>> error_bounds(50, 1, 0, 0.1)  # one row: right, with up to 4 labelled errors above
    (0, 0, 0, 0, 0)
    """
    from scipy.special import betaln, gammaln  # scipy only where a guarantee is fitted

    n, m, most = labelled, batch, min(most, batch)
    y = np.arange(most + 1)

    def tails(x: int) -> NDArray[np.float64]:
        """Probability that more than y balls of the batch come before labelled ball x + 1, by y."""
        log = (
            gammaln(m + 1)
            - gammaln(y + 1)
            - gammaln(m - y + 1)
            + betaln(y + x + 1, m - y + n - x)
            - betaln(x + 1, n - x)
        )
        # Rounded down by less than counts could differ: 1/10 is not above a delta of 0.1.
        return np.asarray(1 - np.cumsum(np.exp(log)) - ROUNDING)

    tail: list[NDArray[np.float64]] = []
    for x in range(n):
        tail.append(tails(x))
        if tail[-1][-1] > delta:  # no larger number of errors has a bound that is of interest
            tail.pop()
            break

    def boundary(level: float) -> list[int]:
        found = (int(np.argmax(t <= level)) for t in tail if t[-1] <= level)
        return list(found)

    def crossed(bound: list[int]) -> float:
        """Share of the lattice paths that cross the boundary, by counting those that do not."""
        paths = np.zeros(1)  # log counts of paths by height, in the current column
        for top in bound:
            start = np.full(top + 1, -np.inf)
            start[: len(paths)] = paths
            paths = np.logaddexp.accumulate(start)
        height, left = np.arange(len(paths)), n - len(bound)
        # After the last bounded column any path is allowed.
        rest = gammaln(left + m - height + 1) - gammaln(left + 1) - gammaln(m - height + 1)
        every = gammaln(n + m + 1) - gammaln(n + 1) - gammaln(m + 1)
        return 1 - float(np.exp(paths + rest - every).sum()) - ROUNDING

    low, high = delta / max(1, len(tail)), delta  # the lower value is valid by the union bound
    if crossed(boundary(high)) <= delta:
        return tuple(boundary(high))
    for _ in range(20):
        level = (low + high) / 2
        low, high = (low, level) if crossed(boundary(level)) > delta else (level, high)
    return tuple(boundary(low))


__all__ = ["error_bounds"]
