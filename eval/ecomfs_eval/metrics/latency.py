"""Latency percentiles, in seconds.

The q-th percentile is the smallest measured time that at least q % of the rows do not exceed,
without interpolation.

>>> import numpy as np
>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a"] * 4, ["a"] * 4, latency=np.array([0.1, 0.2, 0.3, 2.0]))
>>> latency_at(50)(p).value, latency_at(95)(p).value
(0.2, 2.0)
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions


def _prepare(p: Predictions, q: float) -> Statistic | Undefined:
    if p.latency is None or np.isnan(p.latency).all():
        return Undefined("no latency was measured")
    rows = np.flatnonzero(~np.isnan(p.latency))
    order = rows[np.argsort(p.latency[rows], kind="stable")]
    times = p.latency[order]
    gaps = len(p) - rows.size
    note = f"{gaps} of {len(p)} rows have no latency and are left out" if gaps else ""

    def evaluate(weights: RowWeights) -> FloatArray:
        below = weights[:, order].cumsum(axis=1)
        total = below[:, -1:]
        # Slightly less than q, so that rounding of the sums cannot skip a row.
        at = (below >= q / 100 * total * (1 - 1e-12)).argmax(axis=1)
        return np.where(total[:, 0] > 0, times[at], np.nan)

    return Statistic(evaluate, rows.size, note)


def latency_at(q: float) -> Metric:
    """The q-th percentile of the time a row took.

    Raises:
        OptionError: q is not in (0, 100].
    """
    if not 0 < q <= 100:
        raise OptionError(f"percentile {q:g}", hint="more than 0, at most 100")
    return Metric(
        f"latency_p{q:g}",
        f"Latency, {q:g}th percentile",
        f"smallest time that at least {q:g} % of the rows do not exceed",
        "Hyndman & Fan 1996, doi:10.1080/00031305.1996.10473566, definition 1",
        lambda p: _prepare(p, q),
        unit="seconds",
        higher_is_better=False,
        needs="measurements",
    )
