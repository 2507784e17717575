"""Slicings that can be made of any rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def by_length(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Thirds of the rows by the number of characters of their text.

    Returns:
        One name a row, which names its bounds; ``None`` when the lengths are too alike to be
        cut in three.

    >>> by_length(["a" * n for n in (1, 2, 3, 4, 5, 6)])
    ('1: up to 2 characters', '1: up to 2 characters', '2: 3 to 4 characters',
     '2: 3 to 4 characters', '3: 5 characters or more', '3: 5 characters or more')
    >>> by_length(["same", "size"]) is None
    True
    """
    if not texts:
        return None
    lengths = np.array([len(t) for t in texts])
    low, high = (int(x) for x in np.quantile(lengths, [1 / 3, 2 / 3], method="lower"))
    if not lengths.min() <= low < high < lengths.max():
        return None
    names = (
        f"1: up to {low} characters",
        f"2: {low + 1} to {high} characters",
        f"3: {high + 1} characters or more",
    )
    return tuple(names[int(n > low) + int(n > high)] for n in lengths)
