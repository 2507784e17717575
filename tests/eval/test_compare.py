"""Comparison: tests equal to statsmodels, error rates by simulation, decisions in plain words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("statsmodels")

from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from strategies import predictions, quick

from ecomfs_eval import METRICS, Bootstrap, Predictions, compare, compare_many
from ecomfs_eval.compare import (
    exact_p,
    flips,
    holm,
    mcnemar,
    minimum_detectable_effect,
    pair,
    rows_needed,
)
from ecomfs_eval.errors import OptionError, RowsDifferError


@quick
@given(b=st.integers(0, 60), c=st.integers(0, 60))
def test_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    theirs = sm_mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert exact_p(b, c) == pytest.approx(min(theirs, 1.0), rel=1e-9)


@quick
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)


def test_holm_of_nothing() -> None:
    assert holm([]) == ()


def two(
    n: int = 400, p_a: float = 0.8, p_b: float = 0.8, seed: int = 0, **columns: Any
) -> tuple[Predictions, Predictions]:
    """Two systems right on their own share of the rows, independently."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 2, n)
    systems = []
    for name, share in (("A", p_a), ("B", p_b)):
        right = rng.random(n) < share
        answer = np.where(right, gold, 1 - gold)
        sure = rng.uniform(0.5, 0.99, n)
        table = np.where(answer[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None])
        systems.append(Predictions.of(gold, answer, table, labels=["0", "1"], name=name, **columns))
    return systems[0], systems[1]


def test_a_better_system_is_found_and_named() -> None:
    a, b = two(p_a=0.7, p_b=0.85)
    c = compare(a, b, how=Bootstrap(resamples=500))
    assert c.decision.verdict == "b better"
    assert c.decision.text.startswith("B is better than A by ")
    assert c.decision.text.endswith("ship B.")
    assert c["accuracy"].test == "mcnemar"
    assert c.p_value == c.mcnemar.p_value
    worse = compare(b, a, how=Bootstrap(resamples=500))
    assert worse.decision.verdict == "a better"
    assert worse.decision.text.endswith("ship B.")
    assert worse["accuracy"].delta == pytest.approx(-c["accuracy"].delta)  # type: ignore[operator]


def test_metrics_that_are_better_when_lower_decide_the_right_way() -> None:
    a, b = two(p_a=0.7, p_b=0.9)
    c = compare(a, b, primary="log_loss", how=Bootstrap(resamples=500))
    assert c.differences[0].metric == "log_loss"
    assert c["log_loss"].delta is not None
    assert c["log_loss"].delta < 0
    assert c.decision.verdict == "b better"
    assert "log loss" in c.decision.text


def test_every_difference_is_the_difference_of_the_two_scores() -> None:
    a, b = two(p_a=0.7, p_b=0.75)
    for d in compare(a, b, how=Bootstrap(resamples=200)).differences:
        x, y = METRICS[d.metric](a), METRICS[d.metric](b)
        if x.value is None or y.value is None:
            assert d.delta is None
            continue
        assert d.delta == pytest.approx(y.value - x.value, abs=1e-12)
        assert d.interval is None or d.delta in d.interval


def test_the_same_system_twice() -> None:
    a, _ = two(200)
    b = pair(a, two(200)[1])[1]
    twin = Predictions.of(a.gold, a.predicted, a.probabilities, labels=a.labels, name="twin")
    c = compare(a, twin, how=Bootstrap(resamples=200))
    assert c.p_value == 1
    assert c.decision.verdict == "undecided"
    assert c.flips == ()
    assert c.minimum_effect is None
    assert len(b) == 200


def test_a_margin_allows_to_say_equivalent() -> None:
    a, _ = two(2000)
    answers = list(a.predicted)
    right = a.gold_index == a.predicted_index
    for i in (*np.flatnonzero(right)[:10], *np.flatnonzero(~right)[:10]):  # ten rows each way
        answers[i] = "1" if answers[i] == "0" else "0"
    b = Predictions.of(a.gold, answers, labels=a.labels, name="B")
    c = compare(a, b, margin=0.02, how=Bootstrap(resamples=500))
    assert c.decision.verdict == "equivalent"
    assert c.decision.text.startswith("No difference above 2.0 points of accuracy")
    small = compare(a, b, margin=0.001, how=Bootstrap(resamples=500))
    assert small.decision.verdict == "undecided"
    assert "a difference of 0.1 points of accuracy takes about " in small.decision.text


def test_among_equals_the_cheaper_is_shipped() -> None:
    a, b = two(300, cost=np.full(300, 0.002))
    cheap = Predictions.of(
        b.gold,
        b.predicted,
        b.probabilities,
        labels=b.labels,
        name="B",
        cost=np.linspace(0.0005, 0.001, 300),
    )
    c = compare(a, cheap, margin=0.2, how=Bootstrap(resamples=300))
    assert c.decision.verdict == "equivalent"
    assert c.decision.text.endswith("B costs less; ship B.")
    # Without a margin it is unknown how much quality the saving is worth.
    c = compare(a, cheap, how=Bootstrap(resamples=300))
    interval = c["accuracy"].interval
    assert interval is not None
    worse = f"B costs less and may be up to {-100 * interval.low:.1f} points worse; keep A."
    assert c.decision.text.endswith(worse)


def test_a_saving_that_is_the_same_on_every_row_is_a_saving() -> None:
    a, b = two(300, prompt_tokens=np.linspace(80, 120, 300))
    short = Predictions.of(
        b.gold,
        b.predicted,
        b.probabilities,
        labels=b.labels,
        name="B",
        prompt_tokens=np.linspace(80, 120, 300) - 12,
    )
    c = compare(a, short, how=Bootstrap(resamples=300))
    assert c["prompt_tokens"].delta == pytest.approx(-12)
    assert c["prompt_tokens"].interval is None
    assert "B costs less" in c.decision.text
    assert "costs less" not in compare(a, b, how=Bootstrap(resamples=300)).decision.text


def test_false_decisions_stay_under_five_per_cent() -> None:
    """2,000 A/B tests without a difference, decided as ``compare`` decides on ungrouped rows."""
    rng = np.random.default_rng(11)
    n, psi, trials = 300, 0.12, 2000
    wrong = 0
    for _ in range(trials):
        discordant = rng.binomial(n, psi)
        wrong += exact_p(k := int(rng.binomial(discordant, 0.5)), discordant - k) <= 0.05
    assert wrong / trials <= 0.05


def test_false_decisions_of_the_whole_comparison() -> None:
    wrong = 0
    for seed in range(120):
        a, b = two(150, seed=seed)
        c = compare(a, b, metrics=(), how=Bootstrap(resamples=200, seed=seed))
        wrong += c.decision.verdict != "undecided"
    assert wrong <= 11  # 5 % of 120 is 6; P(more than 11) < 2 %


def test_bootstrap_p_values_of_other_metrics_are_near_uniform_under_the_null() -> None:
    hits = 0
    for seed in range(250):
        a, b = two(150, seed=1000 + seed)
        c = compare(a, b, primary="log_loss", metrics=(), how=Bootstrap(resamples=200, seed=seed))
        assert c.p_value is not None
        hits += c.p_value <= 0.1
    assert 10 <= hits <= 42  # 25 expected


def test_power_at_the_planned_effect() -> None:
    effect, psi = 0.05, 0.15
    n = rows_needed(effect, psi, power=0.8)
    assert n is not None
    rng = np.random.default_rng(5)
    x = rng.multinomial(n, [(psi + effect) / 2, (psi - effect) / 2, 1 - psi], size=2000)
    found = sum(exact_p(int(b), int(a)) <= 0.05 for b, a, _ in x)
    # The exact test is a little more careful than the normal approximation it is planned with.
    assert 0.75 <= found / 2000 <= 0.84


@quick
@given(
    n=st.integers(20, 20_000),
    psi=st.floats(0.02, 0.9),
    power=st.sampled_from([0.5, 0.8, 0.9]),
)
def test_the_two_directions_of_planning_agree(n: int, psi: float, power: float) -> None:
    effect = minimum_detectable_effect(n, psi, power=power)
    if effect is None:
        return
    needed = rows_needed(effect, psi, power=power)
    assert needed is not None
    assert needed == pytest.approx(n, abs=1.001)


def test_impossible_effects_have_no_plan() -> None:
    assert rows_needed(0.2, 0.1) is None
    assert minimum_detectable_effect(5, 0.02) is None
    for call in (
        lambda: rows_needed(0.0, 0.1),
        lambda: rows_needed(0.1, 0.0),
        lambda: rows_needed(0.1, 0.2, power=1.0),
        lambda: minimum_detectable_effect(0, 0.2),
    ):
        with pytest.raises(OptionError):
            call()


def test_rows_may_come_in_another_order() -> None:
    a, b = two(100)
    shuffled = b.take(np.random.default_rng(0).permutation(100))
    assert mcnemar(*pair(a, shuffled)) == mcnemar(a, b)


def test_a_label_of_only_one_system_gets_probability_zero() -> None:
    gold = ["x", "y"]
    two_labels, three_labels = [[0.9, 0.1], [0.4, 0.6]], [[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]
    a = Predictions.of(gold, probabilities=two_labels, labels=["x", "y"], name="A")
    b = Predictions.of(gold, probabilities=three_labels, labels=["z", "x", "y"], name="B")
    left, right = pair(a, b)
    assert left.labels == right.labels == ("x", "y", "z")
    assert left.probabilities is not None
    assert right.probabilities is not None
    assert left.probabilities[0].tolist() == [0.9, 0.1, 0.0]
    assert right.probabilities[0].tolist() == [0.8, 0.1, 0.1]
    assert left.positive is None


def test_both_systems_have_one_positive_class() -> None:
    gold, table = ["x", "y", "x", "y"], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]

    def made(name: str, positive: str, labels: Sequence[str] = ("x", "y")) -> Predictions:
        wide = [[*row, *[0.0] * (len(labels) - 2)] for row in table]
        return Predictions.of(gold, probabilities=wide, labels=labels, name=name, positive=positive)

    with pytest.raises(RowsDifferError, match=r"positive class of A is 'x', that of B 'y'"):
        compare(made("A", "x"), made("B", "y"), primary="pr_auc")
    a = Predictions.of(["x"] * 4, ["x"] * 4, name="A")
    b = Predictions.of(["x"] * 4, ["x", "y", "x", "x"], labels=["x", "y"], name="B", positive="x")
    assert [p.positive for p in pair(a, b)] == ["x", "x"]
    three = made("B", "x", ("x", "y", "z"))
    assert [p.positive for p in pair(made("A", "y"), three)] == ["x", "x"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["1", "9"]}, "1 rows are in A only: '2'; 1 rows are in B only: '9'"),
        ({"gold": ["x", "x"]}, "row '2' has gold label 'y' in A and 'x' in B"),
        ({"groups": ("u", "u")}, "different groups"),
    ],
)
def test_different_rows_are_refused(change: dict[str, Any], message: str) -> None:
    a = Predictions.of(["x", "y"], ["x", "y"], name="A", groups=("u", "v"))
    base: dict[str, Any] = {"gold": ["x", "y"], "predicted": ["x", "y"], "labels": ["x", "y"]}
    b = Predictions.of(**{**base, **change}, name="B")
    with pytest.raises(RowsDifferError, match=message):
        compare(a, b)


def test_senseless_options_are_refused() -> None:
    a, b = two(50)
    with pytest.raises(OptionError, match="both systems are called 'A'"):
        compare(a, a)
    with pytest.raises(OptionError, match="margin=-1"):
        compare(a, b, margin=-1)
    with pytest.raises(OptionError, match="1 systems"):
        compare_many([a])
    with pytest.raises(OptionError, match="share a name"):
        compare_many([a, a])


@quick
@given(p=predictions(rows=(1, 20)), data=st.data())
def test_flips_are_exactly_the_rows_answered_differently(
    p: Predictions, data: st.DataObject
) -> None:
    answers = data.draw(
        st.lists(st.sampled_from([*p.labels, None]), min_size=len(p), max_size=len(p))
    )
    q = Predictions.of(p.gold, answers, labels=p.labels, name="B")
    found = flips(p, q)
    assert {f.id for f in found} == {
        i for i, x, y in zip(p.ids, p.predicted, q.predicted, strict=True) if x != y
    }
    table = mcnemar(p, q)
    assert sum(f.kind == "fixed" for f in found) == table.only_b
    assert sum(f.kind == "broken" for f in found) == table.only_a


def test_flips_carry_the_texts_of_both() -> None:
    a = Predictions.of(["x"], ["y"], labels=["x", "y"], extra={"prompt": ("short",)}, name="A")
    b = Predictions.of(
        ["x"], None, [[0.7, 0.3]], labels=["x", "y"], extra={"prompt": ("long",)}, name="B"
    )
    (flip,) = compare(a, b).flips
    assert (flip.extra_a, flip.extra_b) == ({"prompt": "short"}, {"prompt": "long"})
    assert (flip.p_a, flip.p_b) == (None, 0.7)


def test_slices_and_classes_show_where_the_difference_sits() -> None:
    a, b = two(400, slices={"lang": ("en", "zh") * 200})
    # B breaks the Chinese rows only.
    answers = [
        ("1" if g == "0" else "0") if s == "zh" else x
        for g, s, x in zip(a.gold, a.slices["lang"], a.predicted, strict=True)
    ]
    b = Predictions.of(a.gold, answers, labels=a.labels, name="B", slices=a.slices)
    c = compare(a, b, how=Bootstrap(resamples=300))
    en, zh = c.slices["lang"]
    assert (en.value, en.n, en.delta, en.p_value, en.p_adjusted) == ("en", 200, 0, 1, 1)
    assert zh.delta < -0.5
    assert zh.p_adjusted is not None
    assert zh.p_value is not None
    assert zh.p_adjusted == pytest.approx(2 * zh.p_value)
    assert [s.value for s in c.slices["class"]] == ["0", "1"]
    assert sum(s.n for s in c.slices["class"]) == 400


def test_grouped_rows_are_tested_by_the_cluster_bootstrap() -> None:
    groups = tuple(f"u{i // 4}" for i in range(200))
    a, b = two(200, groups=groups)
    c = compare(a, b, how=Bootstrap(resamples=300))
    assert c["accuracy"].test == "bootstrap"
    assert c["accuracy"].interval is not None
    assert c["accuracy"].interval.method == "bca paired cluster"
    assert c.minimum_effect is None


def test_several_variants_are_corrected() -> None:
    a, b = two(400, p_a=0.80, p_b=0.86, seed=3)
    others = [
        Predictions.of(x.gold, x.predicted, labels=x.labels, name=f"V{i}")
        for i, x in enumerate(
            Predictions.of(a.gold, two(400, seed=3, p_a=s)[0].predicted, labels=a.labels)
            for s in (0.79, 0.81)
        )
    ]
    single = compare(a, b, how=Bootstrap(resamples=300))
    many = compare_many([a, b, *others], how=Bootstrap(resamples=300))
    assert many.comparisons[0].p_value == pytest.approx(min(1, 3 * single.p_value))  # type: ignore[operator]
    assert many.baseline == "A"
    assert "A" in many.decision


def test_a_comparison_is_ready_for_json_and_for_a_terminal() -> None:
    a, b = two(100)
    c = compare(a, b, how=Bootstrap(resamples=200))
    back = json.loads(json.dumps(c.to_dict()))
    assert back["decision"]["verdict"] == c.decision.verdict
    assert json.loads(json.dumps(compare_many([a, b]).to_dict()))["baseline"] == "A"
    text = c.to_text()
    assert text.splitlines()[0] == c.decision.text
    assert "exact McNemar p =" in text
    with pytest.raises(KeyError):
        c["nothing"]
