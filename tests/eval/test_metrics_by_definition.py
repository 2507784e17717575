"""Metrics that scikit-learn lacks, or defines differently, compared with a direct implementation of
their definitions: calibration error, risk–coverage, ranking with ties, percentiles, usage.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from sklearn.calibration import calibration_curve
from sklearn.metrics import ndcg_score, roc_auc_score
from strategies import predictions, quick, weights_for

from ecomfs_eval import (
    METRICS,
    Predictions,
    get_metric,
    reliability_curve,
    risk_coverage_curve,
)
from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics import Statistic, Undefined


def repeated(p: Predictions, w: np.ndarray) -> Predictions:
    """The rows as often as their weight says, under new ids."""
    rows = [i for i in range(len(p)) for _ in range(int(w[i]))]
    q = p.take(range(len(p)))
    assert q.probabilities is not None
    return Predictions.of(
        [p.gold[i] for i in rows],
        [p.predicted[i] for i in rows],
        q.probabilities[rows],
        labels=p.labels,
    )


@pytest.mark.parametrize("name", ["ece", "ece_adaptive", "ece_classwise", "aurc"])
@quick
@given(p=predictions(rows=(3, 30)), seed=st.integers(0, 99))
def test_a_weight_is_a_repetition(name: str, p: Predictions, seed: int) -> None:
    w = weights_for(p, seed)
    if w.sum() == 0:
        return
    prepared = METRICS[name].prepare(p)
    assert isinstance(prepared, Statistic)
    assert prepared.evaluate(w[None, :])[0] == pytest.approx(
        METRICS[name](repeated(p, w)).value, abs=1e-9
    )


@quick
@given(p=predictions())
def test_ece_by_hand(p: Predictions) -> None:
    assert p.probabilities is not None
    total = 0.0
    confidence = p.probabilities.max(axis=1)
    right = p.probabilities.argmax(axis=1) == p.gold_index
    for b in range(15):
        inside = (confidence * 15 > b + 1e-9) & (confidence * 15 <= b + 1 + 1e-9)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            total += gap * inside.sum() / len(p)
    assert METRICS["ece"](p).value == pytest.approx(total, abs=1e-9)


def test_adaptive_bins_hold_equal_rows() -> None:
    # 30 distinct confidences in 15 bins: two rows per bin, for any values.
    rng = np.random.default_rng(5)
    confidence = np.sort(rng.uniform(0.5, 1, 30))
    right = rng.integers(0, 2, 30)
    p = Predictions.of(
        ["a" if r else "b" for r in right],
        probabilities=np.column_stack([confidence, 1 - confidence]),
        labels=["a", "b"],
    )
    pairs = [(confidence[i : i + 2].mean(), right[i : i + 2].mean()) for i in range(0, 30, 2)]
    assert METRICS["ece_adaptive"](p).value == pytest.approx(
        np.mean([abs(c - r) for c, r in pairs])
    )


@quick
@given(p=predictions(labels=2, rows=(5, 40)))
def test_reliability_curve_agrees_with_sklearn(p: Predictions) -> None:
    assert p.probabilities is not None
    curve = reliability_curve(p, bins=7)
    assert not isinstance(curve, Undefined)
    confidence = p.probabilities.max(axis=1)
    right = p.probabilities.argmax(axis=1) == p.gold_index
    # scikit-learn puts a value on an inner edge into the bin above, this harness below.
    if np.isclose((confidence * 7) % 1, 0).any():
        assert sum(b.n for b in curve) == len(p)
        return
    share, mean = calibration_curve(right, confidence, n_bins=7)
    np.testing.assert_allclose([b.accuracy for b in curve], share)
    np.testing.assert_allclose([b.confidence for b in curve], mean)
    assert all(b.accuracy in b.interval for b in curve)


def test_reliability_curve_needs_a_bin() -> None:
    p = Predictions.of(["a", "b"], probabilities=[[1, 0], [0, 1]])
    with pytest.raises(OptionError, match="bins=0"):
        reliability_curve(p, bins=0)


@quick
@given(p=predictions(rows=(1, 6)))
def test_aurc_is_the_mean_over_orders_of_ties(p: Predictions) -> None:
    assert p.probabilities is not None
    confidence = p.probabilities.max(axis=1)
    answer = np.where(p.predicted_index < 0, p.probabilities.argmax(axis=1), p.predicted_index)
    wrong = answer != p.gold_index
    values = []
    for order in itertools.permutations(range(len(p))):
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order)):
            lost = np.cumsum(wrong[list(order)])
            values.append(np.mean(lost / np.arange(1, len(p) + 1)))
    assert METRICS["aurc"](p).value == pytest.approx(np.mean(values), abs=1e-9)


@quick
@given(p=predictions(rows=(2, 30), unanswered=False))
def test_risk_coverage_ends_at_the_error_rate(p: Predictions) -> None:
    curve = risk_coverage_curve(p)
    assert not isinstance(curve, Undefined)
    accuracy = METRICS["accuracy"](p).value
    assert accuracy is not None
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(1 - accuracy)
    best = curve.coverage_at(float(curve.risk.min()))
    assert best is not None
    assert curve.coverage_at(-0.1) is None


@st.composite
def ranked(draw: st.DrawFn) -> Predictions:
    """Up to four lists of up to five rows with scores in quarters."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    n = sum(sizes)
    gold = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    score = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))) / 4
    return Predictions.of(
        gold,
        probabilities=np.column_stack([1 - score, score]),
        labels=["0", "1"],
        queries=tuple(f"q{i}" for i, size in enumerate(sizes) for _ in range(size)),
    )


def by_orders(p: Predictions, name: str, k: int) -> float | None:
    """The metric as the mean over all orders that the scores allow, list by list."""
    assert p.queries is not None
    assert p.probabilities is not None
    means = []
    for query in sorted(set(p.queries)):
        rows = [i for i, q in enumerate(p.queries) if q == query]
        gold = [int(p.gold[i]) for i in rows]
        score = [p.probabilities[i, 1] for i in rows]
        if not any(gold):
            continue
        values = []
        for order in itertools.permutations(range(len(rows))):
            if any(score[a] < score[b] for a, b in itertools.pairwise(order)):
                continue
            places = [j for j, i in enumerate(order, start=1) if gold[i]]
            if name == "mrr":
                values.append(Fraction(1, places[0]))
            elif name == "hit":
                values.append(Fraction(int(places[0] <= k)))
            else:
                dcg = sum(1 / np.log2(j + 1) for j in places if j <= k)
                ideal = sum(1 / np.log2(j + 1) for j in range(1, min(k, len(places)) + 1))
                values.append(Fraction(dcg / ideal))
        means.append(sum(values) / len(values))
    return float(sum(means) / len(means)) if means else None


@pytest.mark.parametrize(
    ("name", "k"), [("ndcg", 1), ("ndcg", 3), ("hit", 1), ("hit", 2), ("mrr", 1)]
)
@quick
@given(p=ranked())
def test_ranking_is_the_mean_over_orders_of_ties(name: str, k: int, p: Predictions) -> None:
    metric = get_metric(name if name == "mrr" else f"{name}@{k}")
    expected = by_orders(p, name, k)
    score = metric(p)
    if expected is None:
        assert score.value is None
        assert "no query" in score.reason
    else:
        assert score.value == pytest.approx(expected, abs=1e-9)


@quick
@given(p=ranked())
def test_ndcg_agrees_with_sklearn(p: Predictions) -> None:
    assert p.queries is not None
    assert p.probabilities is not None
    values = []
    for query in set(p.queries):
        rows = [i for i, q in enumerate(p.queries) if q == query]
        gold = [int(p.gold[i]) for i in rows]
        if any(gold) and len(rows) > 1:
            values.append(ndcg_score([gold], [p.probabilities[rows, 1]], k=3))
        elif any(gold):
            values.append(1.0)
    if values:
        assert get_metric("ndcg@3")(p).value == pytest.approx(np.mean(values), abs=1e-9)


@quick
@given(p=ranked())
def test_auc_within_queries_agrees_with_sklearn(p: Predictions) -> None:
    assert p.queries is not None
    assert p.probabilities is not None
    values = []
    for query in set(p.queries):
        rows = [i for i, q in enumerate(p.queries) if q == query]
        gold = [int(p.gold[i]) for i in rows]
        if 0 < sum(gold) < len(gold):
            values.append(roc_auc_score(gold, p.probabilities[rows, 1]))
    score = get_metric("query_auc")(p)
    left_out = len(set(p.queries)) - len(values)
    if values:
        assert score.value == pytest.approx(np.mean(values), abs=1e-9)
        assert score.note.startswith(f"{left_out} of" if left_out else "")
    else:
        assert score.value is None
        assert "and a row of another label" in score.reason


@quick
@given(
    times=st.lists(st.floats(0, 100), min_size=1, max_size=30),
    q=st.sampled_from([1, 50, 90, 95, 99, 100]),
)
def test_latency_percentiles_agree_with_numpy(times: list[float], q: int) -> None:
    p = Predictions.of(["a"] * len(times), ["a"] * len(times), latency=np.array(times))
    theirs = np.quantile(times, q / 100, method="inverted_cdf")
    assert get_metric(f"latency_p{q}")(p).value == theirs


def test_usage_leaves_unmeasured_rows_out_and_says_so() -> None:
    p = Predictions.of(
        ["a"] * 3,
        ["a"] * 3,
        prompt_tokens=np.array([100, 200, np.nan]),
        cached_tokens=np.array([50, 100, np.nan]),
        cost=np.array([0.002, np.nan, np.nan]),
    )
    assert METRICS["prompt_tokens"](p).value == 150
    assert METRICS["cache_share"](p).value == 0.5
    cost = METRICS["cost_per_1000"](p)
    assert cost.value == pytest.approx(2)
    assert cost.note == "2 of 3 rows have no cost and are left out"


def test_rows_without_a_distribution_are_left_out_and_counted() -> None:
    p = Predictions.of(
        ["a", "b", "b"],
        ["a", "b", None],
        [[0.8, 0.2], [0.4, 0.6], [np.nan, np.nan]],
        labels=["a", "b"],
        status=["ok", "ok", "failed"],
    )
    loss = METRICS["log_loss"](p)
    assert loss.n == 2
    assert loss.value == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert loss.note == "1 of 3 rows have no probabilities and are left out"


def test_rates_and_accuracy_on_answered_rows() -> None:
    p = Predictions.of(
        ["a"] * 4, ["a", "b", None, None], status=["ok", "abstained", "invalid", "failed"]
    )
    values = {
        k: METRICS[f"{k}_rate"](p).value for k in ("answered", "abstained", "invalid", "failed")
    }
    assert values == {"answered": 0.25, "abstained": 0.25, "invalid": 0.25, "failed": 0.25}
    assert METRICS["accuracy"](p).value == 0.25
    assert METRICS["accuracy_answered"](p).value == 1


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.title
    assert metric.definition
    assert metric.source


@pytest.mark.parametrize("name", METRICS)
def test_an_undefined_metric_is_none_with_a_reason(name: str) -> None:
    # One failed row: only counts are defined.
    p = Predictions.of(["a"], [None], labels=["a", "b"], status=["failed"])
    score = METRICS[name](p)
    counts = {"accuracy", "recall_macro", "f1_macro", "recall_micro", "f1_micro"}
    counts |= {"recall_weighted", "f1_weighted", "answered_rate", "abstained_rate"}
    counts |= {"invalid_rate", "failed_rate"}
    assert (score.value is None) == (name not in counts)
    assert bool(score.reason) == (name not in counts)


@pytest.mark.parametrize(
    "name", ["f2", "ndcg@x", "precision", "ndcg@0", "latency_p0", "latency_p101"]
)
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(OptionError):
        get_metric(name)
