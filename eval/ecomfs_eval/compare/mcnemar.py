"""The exact McNemar test of two systems on the same rows, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.predictions import Predictions


@dataclass(frozen=True, slots=True)
class McNemar:
    """The paired table and its test.

    Attributes:
        both: rows that both have right.
        only_a, only_b: rows that one alone has right (the discordant rows).
        neither: rows that both have wrong.
        p_value: two-sided exact p-value of "discordant rows are equally likely either way"; 1
            when there are none.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float

    @property
    def discordance(self) -> float:
        """Share of rows that exactly one of the two has right."""
        rows = self.both + self.only_a + self.only_b + self.neither
        return (self.only_a + self.only_b) / rows


def exact_p(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of a discordant split.

    Source: McNemar 1947, doi:10.1007/BF02295996; the exact form is a sign test (scipy).

    >>> round(exact_p(3, 12), 4)
    0.0352
    >>> exact_p(0, 0)
    1.0
    """
    from scipy.stats import binomtest

    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b).pvalue)


def mcnemar(a: Predictions, b: Predictions) -> McNemar:
    """The test on two systems' answers to the same rows in the same order (see ``pair``).

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y", "y"], ["x", "x", "x"])
    >>> b = Predictions.of(["x", "y", "y"], ["x", "y", "y"])
    >>> mcnemar(a, b)
    McNemar(both=1, only_a=0, only_b=2, neither=0, p_value=0.5)
    """
    x, y = correct(a).astype(bool), correct(b).astype(bool)
    only_a, only_b = int((x & ~y).sum()), int((~x & y).sum())
    return McNemar(
        int((x & y).sum()), only_a, only_b, int((~x & ~y).sum()), exact_p(only_a, only_b)
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted by Holm's step-down correction, in the order given.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65–70.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(values) else steps
    return tuple(adjusted.tolist())
