"""Exact McNemar test: do two systems err on different rows more often one way than the other?"""

from __future__ import annotations

from dataclasses import dataclass

from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.predictions import Predictions


@dataclass(frozen=True, slots=True)
class McNemar:
    """The paired table and its test.

    Attributes:
        both: rows that both have right.
        only_a, only_b: rows that one alone has right (the discordant rows).
        neither: rows that both have wrong.
        p_value: two-sided exact p-value that the discordant rows fall either way alike; 1 when
            there are none.
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
