"""Fusing model and experts: weights follow their accuracy, as far as the rows support it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import experts, loss

from ecomfs.calibration import EXPERTS, MODEL, Evidence, Fusion, prior_fusion
from ecomfs.calibration.fusion import fit_fusion

PRIOR = Fusion({"model": 0.7, "vote": 0.5, "probe": 4.0})


def without_model(evidence: Evidence) -> Evidence:
    return Evidence({name: table for name, table in evidence.scores.items() if name != MODEL})


def test_the_fused_answer_is_better_than_each_expert() -> None:
    fusion = fit_fusion(*experts(60, (1.5, 1.5, 1.5), seed=0), PRIOR)
    evidence, truth = experts(2000, (1.5, 1.5, 1.5), seed=1)
    fused = fusion.apply(evidence)
    alone = [Fusion({name: 1.0}).apply(evidence) for name in ("model", "vote")]
    assert loss(fused, truth) < min(loss(p, truth) for p in alone) - 0.1


@pytest.mark.parametrize("bad", [0, 1])
def test_an_uninformative_expert_loses_weight(bad: int) -> None:
    skill = [3.0, 3.0, 0.0]
    skill[bad] = 0.0
    fusion = fit_fusion(*experts(400, (skill[0], skill[1], 0.0), seed=2), PRIOR)
    weights, prior = list(fusion.weights.values()), list(PRIOR.weights.values())
    assert weights[bad] / weights[1 - bad] < 0.6 * prior[bad] / prior[1 - bad]
    assert weights[2] / weights[1 - bad] < prior[2] / prior[1 - bad]


def test_uninformative_experts_get_lower_weights() -> None:
    fusion = fit_fusion(*experts(60, (0.0, 0.0, 0.0), seed=7), PRIOR)
    for name in ("model", "vote"):
        assert fusion.weights[name] < 0.6 * PRIOR.weights[name]


def test_few_rows_leave_the_prior() -> None:
    evidence, truth = experts(7, (2.0, 0.0, 0.0), seed=3)
    assert fit_fusion(evidence, truth, PRIOR) == PRIOR
    evidence, truth = experts(40, (2.0, 0.0, 0.0), seed=3)
    few = np.arange(40) < 7
    assert fit_fusion(evidence, truth, PRIOR, usable=few) == PRIOR
    assert fit_fusion(evidence, truth, PRIOR).readings == 40
    assert fit_fusion(evidence, truth, PRIOR, usable=np.arange(40) < 20).readings == 20


def test_a_source_without_weight_may_be_absent_and_one_with_weight_may_not() -> None:
    evidence, truth = experts(100, (0.0, 2.0, 2.0), seed=4)
    prior = Fusion({"model": 0.0, "vote": 0.7, "probe": 5.0})
    fusion = fit_fusion(without_model(evidence), truth, prior)
    assert fusion.weights["model"] == 0.0
    assert np.isfinite(fusion.apply(without_model(evidence))).all()
    with pytest.raises(KeyError, match="model"):
        PRIOR.apply(without_model(evidence))


def test_the_same_rows_have_the_same_weights_as_in_earlier_versions() -> None:
    evidence, truth = experts(60, (0.8, 1.5, 0.4), seed=5)
    fusion = fit_fusion(evidence, truth, PRIOR)
    expected = {"model": 0.9892515937046796, "vote": 1.2678434056917578, "probe": 3.386421831941823}
    assert fusion.weights == pytest.approx(expected, rel=1e-9)
    alone = fit_fusion(without_model(evidence), truth, prior_fusion(["vote", "probe"]))
    assert alone.weights == pytest.approx(
        {"vote": 1.349565874751308, "probe": 3.1228084291694995}, rel=1e-9
    )


def test_an_expert_of_any_name_joins_and_is_weighed() -> None:
    evidence, truth = experts(200, (0.0, 3.0, 0.0), seed=8)
    scores = dict(evidence.scores)
    scores["features"] = scores.pop("vote")
    fusion = fit_fusion(Evidence(scores), truth, prior_fusion(["model", "probe", "features"]))
    assert list(fusion.weights) == ["model", "probe", "features"]
    assert fusion.weights["features"] > 2 * fusion.weights["model"]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 10)),
    st.permutations(range(4)),
)
def test_distributions_that_follow_the_labels_when_these_change_places(
    seed: int, weights: tuple[float, float, float], order: list[int]
) -> None:
    evidence, _ = experts(5, (1.0, 1.0, 1.0), seed, labels=4)
    fusion = Fusion(dict(zip(evidence.scores, weights, strict=True)))
    fused = fusion.apply(evidence)
    np.testing.assert_allclose(fused.sum(axis=1), 1)
    moved = Evidence({name: table[:, order] for name, table in evidence.scores.items()})
    np.testing.assert_allclose(fusion.apply(moved), fused[:, order], atol=1e-12)


def test_model_and_experts_are_sources_with_the_same_start() -> None:
    prior = prior_fusion([MODEL, EXPERTS])
    assert prior.weights[MODEL] == prior.weights[EXPERTS]
    table = np.array([[0.8, 0.2], [0.3, 0.7]] * 20)
    chance = np.full((40, 2), 0.5)
    truth = np.array([0, 1] * 20)
    for leads, evidence in (
        (MODEL, Evidence.of((), table, chance)),
        (EXPERTS, Evidence.of((), chance, table)),
    ):
        weights = fit_fusion(evidence, truth, prior).weights
        assert weights[leads] > prior.weights[leads]
        follows = EXPERTS if leads == MODEL else MODEL
        assert weights[leads] > weights[follows]
