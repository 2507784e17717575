"""Intervals equal those of scipy and statsmodels, and cover the true value at the stated rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

pytest.importorskip("statsmodels")

from statsmodels.stats.proportion import proportion_confint
from strategies import quick

from ecomfs_eval import METRICS, Bootstrap, Predictions, get_metric, score, scores, wilson
from ecomfs_eval.errors import OptionError
from ecomfs_eval.intervals import leave_out, replicate, resamples
from ecomfs_eval.learning_curve import LearningRun, learning_curve
from ecomfs_eval.metrics import Undefined
from ecomfs_eval.repeated import average


@quick
@given(n=st.integers(1, 500), data=st.data(), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_statsmodels(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    mine = wilson(k, n, level)
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert mine.low == pytest.approx(low, abs=1e-9)
    assert mine.high == pytest.approx(high, abs=1e-9)


def test_bca_equals_scipy() -> None:
    # Different random draws, so the bounds agree within the noise of 20,000 resamples.
    rng = np.random.default_rng(1)
    values = rng.exponential(size=60)
    p = Predictions.of(["a"] * 60, ["a"] * 60, cost=values)
    mine = score(METRICS["cost_per_1000"], p, Bootstrap(resamples=20_000)).interval
    theirs = stats.bootstrap(
        (values * 1000,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    assert mine is not None
    spread = theirs.high - theirs.low
    assert mine.low == pytest.approx(theirs.low, abs=0.03 * spread)
    assert mine.high == pytest.approx(theirs.high, abs=0.03 * spread)


def test_the_p_value_and_the_interval_agree() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.25, 1, size=80)
    found = replicate({"mean": lambda w: w @ values / w.sum(axis=1)}, 80, None, Bootstrap())["mean"]
    assert not isinstance(found, Undefined)
    p = found.p_value()
    i = found.interval(1 - p, "bca")
    # At the level 1 − p one bound of the interval is just at zero.
    assert min(abs(i.low), abs(i.high)) < 0.02 * (i.high - i.low)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.03)


def macro_f1_of(table: np.ndarray) -> float:
    """Macro-F1 of joint probabilities gold × answer."""
    hit = np.diag(table)
    return float(np.mean(2 * hit / (table.sum(axis=0) + table.sum(axis=1))))


def test_bca_covers_macro_f1_as_often_as_it_says() -> None:
    joint = np.array([[0.40, 0.06, 0.04], [0.05, 0.22, 0.03], [0.04, 0.04, 0.12]])
    truth = macro_f1_of(joint)
    rng = np.random.default_rng(0)
    trials, hits = 1000, 0
    for trial in range(trials):
        cells = rng.choice(9, size=150, p=joint.ravel())
        p = Predictions.of(cells // 3, cells % 3, labels=["0", "1", "2"])
        interval = score(METRICS["f1_macro"], p, Bootstrap(resamples=400, seed=trial)).interval
        assert interval is not None
        hits += truth in interval
    assert 0.93 <= hits / trials <= 0.97


def test_the_cluster_bootstrap_covers_where_the_row_bootstrap_does_not() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(40), 8)
    trials, by_group, by_row = 300, 0, 0
    for trial in range(trials):
        # Every user has a rate of their own around 0.7.
        rates = rng.beta(2.1, 0.9, size=40)
        right = rng.random(groups.size) < rates[groups]
        answers = np.where(right, "a", "b")
        how = Bootstrap(resamples=400, seed=trial)
        gold = ["a"] * groups.size
        p = Predictions.of(gold, answers, groups=tuple(map(str, groups)))
        clustered = score(METRICS["accuracy"], p, how).interval
        plain = score(METRICS["accuracy"], Predictions.of(gold, answers), how).interval
        assert clustered is not None
        assert plain is not None
        assert (clustered.method, plain.method) == ("bca cluster", "wilson")
        by_group += 0.7 in clustered
        by_row += 0.7 in plain
    assert by_group / trials >= 0.91  # 40 groups: slightly under nominal, as is known
    assert by_row / trials <= 0.85


def test_the_same_seed_gives_the_same_interval_and_another_one_does_not() -> None:
    p = Predictions.of(["a", "b", "c"] * 20, ["a", "b", "b", "a", "c", "c"] * 10)
    metric = METRICS["f1_macro"]
    first, again = (score(metric, p, Bootstrap(seed=7)).interval for _ in range(2))
    assert first == again
    assert first != score(metric, p, Bootstrap(seed=8)).interval


def test_shared_resamples_change_nothing() -> None:
    p = Predictions.of(["a", "b", "c"] * 20, ["a", "b", "b", "a", "c", "c"] * 10)
    together = scores({k: METRICS[k] for k in ("mcc", "f1_macro")}, p)
    assert together["mcc"] == score(METRICS["mcc"], p)


def test_rows_of_one_group_are_drawn_together() -> None:
    codes = np.array([0, 0, 1, 2, 2, 2])
    for weights in resamples(6, codes, Bootstrap(resamples=200)):
        assert (weights[:, 0] == weights[:, 1]).all()
        assert (weights[:, 3] == weights[:, 5]).all()
        counts = weights[:, [0, 2, 3]]
        assert (counts.sum(axis=1) == 3).all()


def test_the_jackknife_leaves_each_unit_out_once() -> None:
    gone = 1 - np.vstack(list(leave_out(1000, None)))
    assert gone.shape == (200, 1000)
    assert (gone.sum(axis=0) == 1).all()
    assert set(gone.sum(axis=1)) == {5}
    grouped = 1 - np.vstack(list(leave_out(5, np.array([0, 0, 1, 1, 2]))))
    assert grouped.tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


def ranked(**columns: tuple[str, ...]) -> Predictions:
    """200 rows with random scores, in lists of five."""
    rng = np.random.default_rng(0)
    score_ = rng.random(200)
    return Predictions.of(
        rng.integers(0, 2, 200),
        probabilities=np.column_stack([1 - score_, score_]),
        labels=["0", "1"],
        queries=tuple(f"q{i // 5}" for i in range(200)),
        **columns,
    )


def test_ranked_lists_are_resampled_as_lists() -> None:
    p = ranked()
    found = score(get_metric("ndcg@3"), p)
    assert found.interval is not None
    assert found.interval.method == "bca cluster"
    assert "40 groups resampled" in found.note


def test_groups_that_divide_a_ranked_list_cannot_be_resampled() -> None:
    p = ranked(groups=tuple(f"item{i % 50}" for i in range(200)))
    found = scores({name: get_metric(name) for name in ("ndcg@5", "accuracy")}, p)
    assert found["ndcg@5"].value is not None
    assert found["ndcg@5"].interval is None
    assert "rows of one ranked list are in several groups" in found["ndcg@5"].note
    assert found["accuracy"].interval is not None
    several = average([p, p], ["ndcg@5"])["ndcg@5"].score
    assert several.interval is None
    assert "in several groups" in several.note
    [point] = learning_curve([LearningRun(8, p)], "ndcg@5").points
    assert (point.value, point.low) == (pytest.approx(found["ndcg@5"].value), None)


@pytest.mark.parametrize(
    ("p", "metric", "why"),
    [
        (
            Predictions.of(["a", "b"] * 20, ["a", "b"] * 20),
            "f1_macro",
            "every resample gives the same",
        ),
        (Predictions.of(["a"] * 39 + ["b"], ["a"] * 39 + ["b"]), "mcc", "undefined in 3"),
        (
            Predictions.of(["a", "b"], ["a", "a"], groups=("u", "u")),
            "accuracy",
            "only one unit to resample",
        ),
    ],
)
def test_an_unreliable_bootstrap_has_a_reason_instead(
    p: Predictions, metric: str, why: str
) -> None:
    found = score(METRICS[metric], p)
    assert found.value is not None
    assert found.interval is None
    assert why in found.note


def test_few_groups_are_flagged() -> None:
    p = Predictions.of(
        ["a", "b"] * 10, ["a", "a"] * 6 + ["a", "b"] * 4, groups=tuple("uuuuvvvvwwwwxxxxyyyy")
    )
    assert "5 groups resampled, too few to trust" in score(METRICS["accuracy"], p).note


@pytest.mark.parametrize("options", [{"resamples": 10}, {"level": 0.3}, {"level": 1.0}])
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Bootstrap(**options)  # type: ignore[arg-type]


def test_no_interval_where_resampling_biases_the_value() -> None:
    # Calibrated predictions: every resample finds more calibration error than there is.
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 400)
    right = rng.random(400) < confidence
    p = Predictions.of(
        np.where(right, "a", "b"),
        probabilities=np.column_stack([confidence, 1 - confidence]),
        labels=["a", "b"],
    )
    found = score(METRICS["ece_adaptive"], p)
    assert found.value is not None
    assert found.interval is None
    assert "of the resamples lie above the value" in found.note
