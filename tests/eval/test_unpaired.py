"""Arms of a traffic split: intervals and tests equal to statsmodels, error rates by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

pytest.importorskip("statsmodels")

from statsmodels.stats.proportion import confint_proportions_2indep
from strategies import quick

from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.compare import compare_arms, newcombe, two_proportions_p
from ecomfs_eval.errors import OptionError, RowsDifferError

HOW = Bootstrap(resamples=300)


@quick
@given(data=st.data(), n=st.integers(1, 200), m=st.integers(1, 200))
def test_newcombe_equals_statsmodels(data: st.DataObject, n: int, m: int) -> None:
    i, j = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    low, high = newcombe(i, n, j, m)
    theirs = confint_proportions_2indep(j, m, i, n, method="newcomb", compare="diff")
    assert (low, high) == pytest.approx((max(-1, theirs[0]), min(1, theirs[1])), abs=1e-9)
    assert -1 <= low <= j / m - i / n + 1e-12
    assert 1 >= high >= j / m - i / n - 1e-12


def arm(name: str, n: int, share: float, seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 2, n)
    answer = np.where(rng.random(n) < share, gold, 1 - gold)
    sure = rng.uniform(0.5, 0.99, n)
    table = np.where(answer[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None])
    return Predictions.of(
        gold,
        answer,
        table,
        labels=["0", "1"],
        name=name,
        ids=[f"{name}{i}" for i in range(n)],
        slices={"lang": ("en",) * (n - 5) + ("zh",) * 5},
        prompt_tokens=rng.normal(90, 5, n),
    )


def test_a_better_arm_is_found() -> None:
    found = compare_arms([arm("A", 400, 0.7, 0), arm("B", 300, 0.9, 1)], how=HOW)
    [c] = found.comparisons
    assert c.decision.verdict == "b better"
    assert c.decision.text.endswith("ship B.")
    assert c.mcnemar is None
    assert c.flips == ()
    assert c.rows == 700
    assert c["accuracy"].test == "fisher"
    right = [
        round(x.value * n)
        for x, n in ((c["accuracy"].a, 400), (c["accuracy"].b, 300))
        if x.value is not None
    ]
    assert c.p_value == two_proportions_p(right[0], 400, right[1], 300)
    for metric in ("f1_macro", "roc_auc", "log_loss", "prompt_tokens"):
        d = c[metric]
        assert d.delta is not None
        assert d.interval is not None
        assert d.delta in d.interval
        assert d.test == "bootstrap"
    few, many = c.slices["lang"][1], c.slices["lang"][0]
    assert (few.value, few.interval, few.p_value) == ("zh", None, None)
    assert few.note == "5 rows, fewer than 20"
    assert many.interval is not None
    assert c.minimum_effect is not None
    assert 0.05 < c.minimum_effect < 0.15
    json.dumps(found.to_dict(), allow_nan=False)


def test_false_decisions_and_coverage_without_a_difference() -> None:
    """Summed over every outcome, not simulated."""
    n, m, share = 60, 90, 0.8
    wrong = covered = 0.0
    for i, chance_i in enumerate(binom.pmf(range(n + 1), n, share)):
        for j, chance_j in enumerate(binom.pmf(range(m + 1), m, share)):
            if (chance := chance_i * chance_j) < 1e-7:
                continue
            low, high = newcombe(i, n, j, m)
            covered += chance * (low <= 0 <= high)
            wrong += chance * (two_proportions_p(i, n, j, m) <= 0.05)
    assert wrong <= 0.05
    assert 0.93 <= covered <= 0.97


def test_the_bootstrap_of_other_metrics_covers_too() -> None:
    missed = 0
    for seed in range(100):
        a, b = arm("A", 120, 0.75, 2 * seed), arm("B", 160, 0.75, 2 * seed + 1)
        [c] = compare_arms([a, b], metrics=["f1_macro"], how=HOW).comparisons
        interval = c["f1_macro"].interval
        assert interval is not None
        missed += 0 not in interval
    assert missed <= 11  # 5 expected; more than 11 has a chance of 1 in 300


def test_three_arms_are_corrected() -> None:
    arms = [arm("A", 200, 0.75, 0), arm("B", 200, 0.86, 1), arm("C", 200, 0.75, 3)]
    two = compare_arms(arms[:2], how=HOW)
    three = compare_arms(arms, how=HOW)
    one, other = (c.p_value for c in three.comparisons)
    assert two.comparisons[0].p_value is not None
    assert one == pytest.approx(2 * two.comparisons[0].p_value)
    assert other is not None


def test_one_class_in_gold_leaves_the_auc_undefined() -> None:
    gold = ["1"] * 40
    table = [[0.2, 0.8]] * 40
    arms = [
        Predictions.of(
            gold, None, table, labels=["0", "1"], ids=[f"{n}{i}" for i in range(40)], name=n
        )
        for n in "AB"
    ]
    [c] = compare_arms(arms, metrics=["accuracy", "roc_auc"], how=HOW).comparisons
    assert c["roc_auc"].delta is None
    assert c["roc_auc"].note
    assert c.decision.verdict == "undecided"
    assert c.minimum_effect is None


def test_senseless_arms_are_refused() -> None:
    a, b = arm("A", 40, 0.8, 0), arm("B", 40, 0.8, 1)
    with pytest.raises(OptionError, match="1 arms"):
        compare_arms([a])
    with pytest.raises(OptionError, match="share a name"):
        compare_arms([a, a])
    with pytest.raises(OptionError, match="margin"):
        compare_arms([a, b], margin=0.0)
    twice = Predictions.of(a.gold, a.predicted, labels=a.labels, ids=a.ids, name="B")
    with pytest.raises(RowsDifferError, match="40 rows are in both A and B"):
        compare_arms([a, twice])
