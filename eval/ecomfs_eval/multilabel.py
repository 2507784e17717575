"""Scores of rows with several labels each, with their intervals.

>>> gold = [{"late"}, {"late", "rude"}, set(), {"rude"}] * 5
>>> given = [{"late"}, {"late"}, set(), {"rude"}] * 5
>>> found = score_label_sets(gold, given)
>>> found["subset_accuracy"].text()
'75.0 % [53.1, 88.8]'
>>> round(found["f1_micro"].value, 3), found["f1_micro"].interval.method
(0.857, 'bca')
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ecomfs_eval.intervals import Bootstrap, replicate, wilson
from ecomfs_eval.metrics.label_sets import METRICS, LabelSets, SetMetric, exact
from ecomfs_eval.metrics.score import ConfidenceInterval, Score, Undefined


def score_label_sets(
    gold: Sequence[Collection[str]],
    given: Sequence[Collection[str] | None],
    labels: Sequence[str] | None = None,
    how: Bootstrap | None = None,
) -> dict[str, Score]:
    """Micro F1, macro F1 and subset accuracy of label sets.

    Args:
        gold, given, labels: see :meth:`~ecomfs_eval.metrics.label_sets.LabelSets.of`.
        how: resamples, level and seed of the intervals.

    Raises:
        DataError: the sets cannot be used.
    """
    rows, how = LabelSets.of(gold, given, labels), how or Bootstrap()
    n = len(rows)
    found = {name: _point(metric, rows) for name, metric in METRICS.items()}
    drawn = {
        name: partial(metric.evaluate, rows)
        for name, metric in METRICS.items()
        if not metric.proportion and found[name].value is not None
    }
    for name, r in replicate(drawn, n, None, how).items():
        if isinstance(r, Undefined):
            found[name] = found[name].noted(f"no interval: {r.reason}")
        else:
            low, high = r.bounds(how.level)
            found[name] = replace(
                found[name], interval=ConfidenceInterval(low, high, how.level, "bca")
            )
    for name, metric in METRICS.items():
        if metric.proportion:
            interval = wilson(int(exact(rows).sum()), n, how.level)
            found[name] = replace(found[name], interval=interval)
    return found


def _point(metric: SetMetric, rows: LabelSets) -> Score:
    value = float(metric.evaluate(rows, np.ones((1, len(rows))))[0])
    out = Score(metric.name, None if np.isnan(value) else value, n=len(rows), unit="share")
    if out.value is None:
        return replace(out, reason=metric.undefined)
    missing = int((~rows.answered).sum())
    note = f"{missing} of {len(rows)} rows were not answered and count as wrong"
    return out.noted(note) if missing else out


__all__ = ["score_label_sets"]
