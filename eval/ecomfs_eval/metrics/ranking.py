"""Ranking metrics over lists (``queries``): NDCG@k, Hit@k, MRR, AUC.

Within a query, rows are ranked by the probability of the positive class; a row is relevant when
its gold label is that class. Rows without probabilities come last. For equal scores, the
expectation over random orders is computed, so the order of the file does not matter.
Queries without a relevant row have no value and are left out (for AUC also those without an
irrelevant one); the note counts them.

>>> from ecomfs_eval import Predictions
>>> p = Predictions.of([1, 0, 0, 1], probabilities=[[.2, .8], [.4, .6], [.1, .9], [.5, .5]],
...                    queries=("u1", "u1", "u2", "u2"))
>>> round(ndcg_at(10)(p).value, 4), hit_at(1)(p).value, mrr(p).value
(0.8155, 0.5, 0.75)
>>> mrr(Predictions.of([1, 0], probabilities=[[.2, .8], [.4, .6]])).reason
'no query column: the rows form no ranked lists'
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.base import Metric, RowWeights, Statistic, ratio
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, IntArray, Predictions

Tied = list[tuple[int, int]]
"""Groups of equal score from the top: (rows in the group, relevant rows among them)."""


def _groups(scores: FloatArray, relevant: FloatArray) -> Tied:
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    sizes = np.diff(np.r_[starts, scores.size])
    hits = np.add.reduceat(relevant[order], starts)
    return [(int(m), int(r)) for m, r in zip(sizes, hits, strict=True)]


def _ndcg(groups: Tied, k: int) -> float:
    total = sum(m for m, _ in groups)
    discount = 1 / np.log2(np.arange(2, total + 2))
    discount[k:] = 0
    gain, at = 0.0, 0
    for m, r in groups:
        gain += r / m * float(discount[at : at + m].sum())
        at += m
    return gain / float(discount[: sum(r for _, r in groups)].sum())


def _none_of_first(m: int, r: int, s: int) -> float:
    """Probability that none of r relevant among m tied rows is in the first s of a random order."""
    if s > m - r:
        return 0.0
    return float(np.prod([(m - r - j) / (m - j) for j in range(s)]))


def _hit(groups: Tied, k: int) -> float:
    miss, at = 1.0, 0
    for m, r in groups:
        slots = min(m, k - at)
        if slots <= 0:
            break
        miss *= _none_of_first(m, r, slots)
        at += m
    return 1 - miss


def _reciprocal(groups: Tied, _: int) -> float:
    at = 0
    for m, r in groups:
        if r:
            # P(first relevant at place j of the group), by the product rule.
            clear = [_none_of_first(m, r, j) for j in range(m - r + 2)]
            return float(sum((clear[j - 1] - clear[j]) / (at + j) for j in range(1, m - r + 2)))
        at += m
    return 0.0


def _area(groups: Tied, _: int) -> float:
    """Probability that a relevant row is above an irrelevant one; a tie counts half."""
    below = sum(m - r for m, r in groups)
    pairs = below * sum(r for _, r in groups)
    won = 0.0
    for m, r in groups:
        below -= m - r
        won += r * (below + (m - r) / 2)
    return won / pairs


def _prepared(
    p: Predictions, k: int, value: Callable[[Tied, int], float], *, both: bool = False
) -> Statistic | Undefined:
    if p.queries is None:
        return Undefined("no query column: the rows form no ranked lists")
    if p.positive is None:
        return Undefined("no positive class, so no row is relevant")
    if p.probabilities is None:
        return Undefined("no row has probabilities to rank by")
    at = p.labels.index(p.positive)
    scores = np.nan_to_num(p.probabilities[:, at], nan=-1.0)
    relevant = (p.gold_index == at).astype(np.float64)
    _, codes = np.unique(np.array(p.queries), return_inverse=True)
    units: IntArray = codes.astype(np.int64)
    first, values = [], []
    lists = int(units.max()) + 1
    for query in range(lists):
        rows = np.flatnonzero(units == query)
        if relevant[rows].any() and not (both and relevant[rows].all()):
            first.append(int(rows[0]))
            values.append(value(_groups(scores[rows], relevant[rows]), k))
    if not values:
        others = " and a row of another label" if both else ""
        return Undefined(f"no query has a row of {p.positive!r}{others}")
    of_query, leader = np.array(values), np.array(first)
    empty = lists - len(values)
    what = "only relevant or no relevant rows" if both else "no relevant row"
    note = f"{empty} of {lists} queries have {what} and are left out" if empty else ""

    def evaluate(weights: RowWeights) -> FloatArray:
        # Whole lists are drawn, so the first row of a list carries the weight of the list.
        picked = weights[:, leader]
        return ratio(picked @ of_query, picked.sum(axis=1))

    return Statistic(evaluate, len(values), note, units=units)


def _check_k(k: int) -> None:
    if k < 1:
        raise OptionError(f"k={k}", hint="one or more")


def ndcg_at(k: int) -> Metric:
    """Normalised discounted cumulative gain of the first k, with gains 0 and 1."""
    _check_k(k)
    return Metric(
        f"ndcg@{k}",
        f"NDCG@{k}",
        f"Σ relevant/log2(rank + 1) over the first {k} / the same for the best order; mean over "
        "queries",
        "Järvelin & Kekäläinen 2002, doi:10.1145/582415.582418; ties: McSherry & Najork 2008",
        lambda p: _prepared(p, k, _ndcg),
        unit="score",
        needs="queries",
    )


def hit_at(k: int) -> Metric:
    """Share of queries with a relevant row among the first k."""
    _check_k(k)
    return Metric(
        f"hit@{k}",
        f"Hit@{k}",
        f"queries with a relevant row among the first {k} / queries with a relevant row",
        "Deshpande & Karypis 2004, doi:10.1145/963770.963776",
        lambda p: _prepared(p, k, _hit),
        needs="queries",
    )


mrr = Metric(
    "mrr",
    "Mean reciprocal rank",
    "mean over queries of 1 / rank of the first relevant row",
    "Voorhees 1999, TREC-8 question answering",
    lambda p: _prepared(p, 1, _reciprocal),
    unit="score",
    needs="queries",
    title_zh="平均倒数排名",
)

query_auc = Metric(
    "query_auc",
    "Mean AUC within queries",
    "mean over queries of the share of (relevant, irrelevant) pairs in which the relevant row "
    "ranks higher; ties count half",
    "Zhou et al. 2018, doi:10.1145/3219819.3219823 (there weighted by the size of the query)",
    lambda p: _prepared(p, 1, _area, both=True),
    unit="score",
    needs="queries",
    title_zh="列表内 AUC 均值",
)
