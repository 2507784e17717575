"""Random predictions for property tests: ties, one class, missing classes, rows without answers."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from ecomfs_eval import Predictions

quick = settings(max_examples=60, deadline=None)
"""No deadline: the machine may be busy, and a slow example is not a wrong one."""


@st.composite
def predictions(
    draw: st.DrawFn,
    *,
    labels: int | None = None,
    rows: tuple[int, int] = (1, 40),
    unanswered: bool = True,
) -> Predictions:
    """n rows over 2 to 5 labels. Probabilities are multiples of 1/10, so that ties are common."""
    size = labels if labels is not None else draw(st.integers(2, 5))
    n = draw(st.integers(*rows))
    index = st.integers(0, size - 1)
    gold = draw(st.lists(index, min_size=n, max_size=n))
    answer = draw(
        st.lists(st.one_of(index, st.none()) if unanswered else index, min_size=n, max_size=n)
    )
    tenths = draw(
        st.lists(
            st.lists(st.integers(0, 10), min_size=size, max_size=size).filter(any),
            min_size=n,
            max_size=n,
        )
    )
    table = np.array(tenths, dtype=float)
    table /= table.sum(axis=1, keepdims=True)
    names = [f"c{i}" for i in range(size)]
    return Predictions.of(
        [names[g] for g in gold],
        [None if a is None else names[a] for a in answer],
        table,
        labels=names,
    )


def weights_for(p: Predictions, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Whole-number row weights with zeros among them, as a bootstrap draw has."""
    return np.random.default_rng(seed).integers(0, 4, size=len(p)).astype(float)
