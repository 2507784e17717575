"""Measurements of rows: latency percentiles, tokens, the share of cached tokens, cost.

The q-th percentile is the smallest measured time that at least q % of the rows do not exceed,
without interpolation.

>>> import numpy as np
>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a"] * 4, ["a"] * 4, latency=np.array([0.1, 0.2, 0.3, 2.0]))
>>> latency_at(50)(p).value, latency_at(95)(p).value
(0.2, 2.0)
>>> p = Predictions.of(["a", "b"], ["a", "b"], prompt_tokens=np.array([100., 300.]),
...                    cached_tokens=np.array([0., 200.]), cost=np.array([0.001, 0.002]))
>>> prompt_tokens(p).value, cache_share(p).value, cost_per_1000(p).value
(200.0, 0.5, 1.5)
>>> completion_tokens(p).reason
'no completion_tokens were recorded'
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, left_out, mean_of, ratio
from ecomfs_eval.metrics.score import Undefined, Unit
from ecomfs_eval.predictions import FloatArray, Predictions


def latency_at(q: float) -> Metric:
    """The q-th percentile of the time a row took.

    Raises:
        OptionError: q is not in (0, 100].
    """
    if not 0 < q <= 100:
        raise OptionError(f"percentile {q:g}", hint="more than 0, at most 100")

    def prepare(p: Predictions) -> Statistic | Undefined:
        if p.latency is None or np.isnan(p.latency).all():
            return Undefined("no latency was measured")
        rows = np.flatnonzero(~np.isnan(p.latency))
        order = rows[np.argsort(p.latency[rows], kind="stable")]
        times = p.latency[order]

        def evaluate(weights: RowWeights) -> FloatArray:
            below = weights[:, order].cumsum(axis=1)
            total = below[:, -1:]
            # Slightly less than q, so that rounding of the sums cannot skip a row.
            at = (below >= q / 100 * total * (1 - 1e-12)).argmax(axis=1)
            return np.where(total[:, 0] > 0, times[at], np.nan)

        return Statistic(
            evaluate, rows.size, left_out(len(p) - rows.size, len(p), "have no latency")
        )

    return Metric(
        f"latency_p{q:g}",
        f"Latency, {q:g}th percentile",
        f"smallest time that at least {q:g} % of the rows do not exceed",
        "Hyndman & Fan 1996, doi:10.1080/00031305.1996.10473566, definition 1",
        prepare,
        unit="seconds",
        higher_is_better=False,
        needs="measurements",
        title_zh=f"延迟（{q:g} 分位）",
    )


def _mean(
    column: str,
    title: str,
    title_zh: str,
    definition: str,
    unit: Unit,
    *,
    name: str = "",
    scale: float = 1.0,
) -> Metric:
    def prepare(p: Predictions) -> Statistic | Undefined:
        values: FloatArray | None = getattr(p, column)
        if values is None or np.isnan(values).all():
            return Undefined(f"no {column} were recorded")
        note = left_out(int(np.isnan(values).sum()), len(p), f"have no {column}")
        return mean_of(values * scale, note)

    return Metric(
        name or column,
        title,
        definition,
        "a mean",
        prepare,
        unit=unit,
        higher_is_better=False,
        needs="measurements",
        title_zh=title_zh,
    )


prompt_tokens = _mean(
    "prompt_tokens",
    "Prompt tokens per row",
    "每行提示词元数",
    "mean tokens of the prompt",
    "tokens",
)
completion_tokens = _mean(
    "completion_tokens",
    "Generated tokens per row",
    "每行生成词元数",
    "mean tokens generated",
    "tokens",
)
cost_per_1000 = _mean(
    "cost",
    "Cost of 1,000 rows",
    "每千行费用",
    "mean cost · 1,000",
    "money",
    name="cost_per_1000",
    scale=1000,
)


def _cache(p: Predictions) -> Statistic | Undefined:
    if p.prompt_tokens is None or p.cached_tokens is None:
        return Undefined("no prompt_tokens with cached_tokens were recorded")
    there = ~np.isnan(p.prompt_tokens) & ~np.isnan(p.cached_tokens)
    whole = np.where(there, p.prompt_tokens, 0)
    cached = np.where(there, p.cached_tokens, 0)
    if whole.sum() == 0:
        return Undefined("no prompt tokens were read")

    def evaluate(weights: RowWeights) -> FloatArray:
        return ratio(weights @ cached, weights @ whole)

    return Statistic(evaluate, int(there.sum()))


cache_share = Metric(
    "cache_share",
    "Prompt tokens from cache",
    "Σ cached tokens / Σ prompt tokens",
    "a ratio of sums",
    _cache,
    needs="measurements",
    title_zh="提示词元缓存占比",
)
