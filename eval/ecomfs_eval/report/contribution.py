"""Does the model add anything? One line, in words."""

from __future__ import annotations

from collections.abc import Iterable

from ecomfs_eval.compare.differences import Difference
from ecomfs_eval.report.words import ReportWords

METRICS = ("accuracy", "log_loss")
"""Metrics that a model may improve: accuracy, and the quality of probabilities."""


def contribution(
    differences: Iterable[Difference], rows: int, words: ReportWords, *, main: str, without: str
) -> str:
    """One line on what a model adds to the same system without it; empty if neither accuracy nor
    log loss is known.

    The answer is yes if one of the two is clearly better (the interval excludes zero) and the other
    is not clearly worse.

    Args:
        differences: with the model − without it, paired.
        rows: number of rows compared.
        words: the language of the report.
        main, without: names of the systems.

    >>> from ecomfs_eval import Bootstrap, Predictions
    >>> from ecomfs_eval.compare import differences
    >>> from ecomfs_eval.metrics import get_metric
    >>> gold = ["a", "b"] * 20
    >>> both, experts = Predictions.of(gold, gold), Predictions.of(gold, ["a"] * 30 + ["b"] * 10)
    >>> found = differences(experts, both, [get_metric("accuracy")], Bootstrap())
    >>> line = contribution(found, 40, ReportWords("en"), main="both", without="experts")
    >>> line.partition("? ")[2]
    'Yes: both compared with experts, 40 rows: accuracy +50.0 [+35.0, +65.0]'
    """
    known = [d for d in differences if d.metric in METRICS and d.delta is not None]
    if not known:
        return ""
    clear = {d.clear for d in known}
    key = "adds_mixed" if {True, False} <= clear else "adds_not_shown"
    if key != "adds_mixed" and clear != {None}:
        key = "adds" if True in clear else "adds_harm"
    shown = words("and").join(f"{words.inside(d.metric, d.title)} {d.text()}" for d in known)
    names = {"main": main, "without": without}
    return words("contribution", answer=words(key), rows=rows, differences=shown, **names)


__all__ = ["METRICS", "contribution"]
