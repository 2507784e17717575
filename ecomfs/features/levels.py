"""The values of a category that are frequent enough for a feature of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MOST_LEVELS = 20
LEAST_ROWS = 2
LEAST_SHARE = 0.02


def frequent(values: Iterable[str], rows: int) -> tuple[str, ...]:
    """The frequent values, most frequent first.

    Parameters
    ----------
    values : iterable of str
        At most one of a kind a row, missing ones left out.
    rows : int
        Rows of the pool.

    Returns
    -------
    tuple of str
        At most 20, each of at least two rows and of 2 % of all; equal counts in the order of
        their spelling, so that the order of rows does not matter.

    Examples
    --------
    >>> frequent(["b", "a", "b", "a", "c"], rows=5)
    ('a', 'b')
    """
    least = max(LEAST_ROWS, LEAST_SHARE * rows)
    counts = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(value for value, count in counts[:MOST_LEVELS] if count >= least)


__all__ = ["frequent"]
