"""Tokens, the share of them read from the prefix cache, and cost.

>>> import numpy as np
>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b"], ["a", "b"], prompt_tokens=np.array([100., 300.]),
...                    cached_tokens=np.array([0., 200.]), cost=np.array([0.001, 0.002]))
>>> prompt_tokens(p).value, cache_share(p).value, cost_per_1000(p).value
(200.0, 0.5, 1.5)
>>> completion_tokens(p).reason
'no completion_tokens were recorded'
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, mean_of, ratio
from ecomfs_eval.metrics.score import Undefined, Unit
from ecomfs_eval.predictions import FloatArray, Predictions


def _mean(
    column: str, title: str, definition: str, unit: Unit, *, name: str = "", scale: float = 1.0
) -> Metric:
    def prepare(p: Predictions) -> Statistic | Undefined:
        values: FloatArray | None = getattr(p, column)
        if values is None or np.isnan(values).all():
            return Undefined(f"no {column} were recorded")
        gaps = int(np.isnan(values).sum())
        note = f"{gaps} of {len(p)} rows have no {column} and are left out" if gaps else ""
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
    )


prompt_tokens = _mean(
    "prompt_tokens", "Prompt tokens per row", "mean tokens of the prompt", "tokens"
)
completion_tokens = _mean(
    "completion_tokens", "Generated tokens per row", "mean tokens generated", "tokens"
)
cost_per_1000 = _mean(
    "cost", "Cost of 1,000 rows", "mean cost · 1,000", "money", name="cost_per_1000", scale=1000
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
)
