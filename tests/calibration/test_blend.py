"""Bayesian model averaging: components are weighted by their likelihood on the examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import experts, loss

from ecomfs.calibration import (
    EXPERTS,
    EXPERTS_ALONE,
    MODEL,
    MODEL_ALONE,
    Blend,
    Evidence,
    Fusion,
    cross_calibrated,
    cross_fitted,
    fit_blend,
    prior_fusion,
)
from ecomfs.calibration.blend import adds_to_experts, error_rate
from ecomfs.calibration.fusion import expert_priors, fit_fusion, usable_rows

EVEN = (1 / 3,) * 3
PRIOR = Fusion({"model": 0.7, "vote": 0.5, "probe": 4.0})
ALONE = prior_fusion(["vote", "probe"])
OTHERS = (ALONE, MODEL_ALONE)


@pytest.mark.parametrize(
    ("skill", "known"), [((0.0, 3.0, 3.0), 1), ((4.0, 0.0, 0.0), 2), ((0.0, 0.0, 0.0), 3)]
)
def test_the_component_that_holds_has_the_weight(
    skill: tuple[float, float, float], known: int
) -> None:
    blend = fit_blend(*experts(60, skill, seed=0), EVEN, PRIOR, OTHERS)
    assert sum(blend.weights) == pytest.approx(1)
    # Beside it only that all know something: its weights may come close to the truth too.
    assert blend.weights[0] + blend.weights[known] > 0.9
    assert blend.weights[known] > 0.05


def test_without_an_informative_source_the_label_shares_remain() -> None:
    evidence, _ = experts(90, (0.0, 0.0, 0.0), seed=1)
    shares = (0.7, 0.2, 0.1)
    truth = np.random.default_rng(1).choice(3, size=90, p=shares)
    blend = fit_blend(evidence, truth, shares, PRIOR, OTHERS)
    later, _ = experts(500, (0.0, 0.0, 0.0), seed=2)
    then = np.random.default_rng(2).choice(3, size=500, p=shares)
    best = loss(np.tile(shares, (500, 1)), then)
    assert loss(blend.apply(later), then) == pytest.approx(best, abs=0.02)


def test_too_few_rows_keep_all_sources_together() -> None:
    evidence, truth = experts(7, (2.0, 0.0, 0.0), seed=3)
    blend = fit_blend(evidence, truth, EVEN, PRIOR, OTHERS)
    assert blend == Blend((PRIOR, *OTHERS), (1.0, 0.0, 0.0, 0.0), EVEN)
    np.testing.assert_allclose(blend.apply(evidence), PRIOR.apply(evidence))


def test_experts_alone_do_without_a_model() -> None:
    evidence, truth = experts(60, (0.0, 2.0, 2.0), seed=4)
    absent = Evidence({n: table for n, table in evidence.scores.items() if n != MODEL})
    blend = fit_blend(absent, truth, EVEN, ALONE)
    assert len(blend.weights) == 2
    assert np.isfinite(blend.apply(absent)).all()


def test_the_same_rows_have_the_same_average_as_in_earlier_versions() -> None:
    evidence, truth = experts(60, (0.8, 1.5, 0.4), seed=5)
    alone = fit_fusion(evidence, truth, ALONE)
    blend = fit_blend(evidence, truth, (0.3, 0.3, 0.4), PRIOR, (alone, MODEL_ALONE))
    expected = (0.980568818432766, 0.00041836477143731204, 4.848492e-13, 0.019012816795311704)
    assert blend.weights == pytest.approx(expected, rel=1e-6)
    assert blend.apply(evidence)[0].tolist() == pytest.approx(
        [0.6208187794048433, 0.026993300774734837, 0.3521879198204218], rel=1e-9
    )
    held = cross_fitted(evidence, truth, (0.3, 0.3, 0.4), PRIOR, (alone, MODEL_ALONE))
    assert held[0].tolist() == pytest.approx(
        [0.5976364212402157, 0.03351597653838094, 0.3688476022214033], rel=1e-9
    )


def test_cross_fitted_answers_do_not_know_their_own_label() -> None:
    evidence, _ = experts(60, (0.0, 0.0, 0.0), seed=5)
    truth = np.random.default_rng(6).integers(3, size=60)
    own = fit_blend(evidence, truth, EVEN, PRIOR, OTHERS).apply(evidence)
    assert loss(cross_fitted(evidence, truth, EVEN, PRIOR, OTHERS), truth) > loss(own, truth)


def test_cross_calibration_does_not_favour_an_uninformative_model() -> None:
    evidence, _ = experts(48, (0.0, 0.0, 0.0), seed=8, labels=2)
    truth = np.random.default_rng(9).integers(2, size=48)
    assert loss(
        cross_calibrated(np.exp(evidence.scores[MODEL]).tolist(), truth.tolist()), truth
    ) > np.log(2)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
    st.permutations(range(4)),
)
def test_distributions_that_follow_the_labels_when_these_change_places(
    seed: int, weights: list[float], order: list[int]
) -> None:
    evidence, _ = experts(5, (1.0, 1.0, 1.0), seed, labels=4)
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    held = tuple(w / sum(weights) for w in weights)
    components = (PRIOR, Fusion({"vote": 1.0, "probe": 2.0}), MODEL_ALONE)
    blended = Blend(components, held, tuple(shares)).apply(evidence)
    np.testing.assert_allclose(blended.sum(axis=1), 1)
    moved = Evidence({name: table[:, order] for name, table in evidence.scores.items()})
    again = Blend(components, held, tuple(shares[order])).apply(moved)
    np.testing.assert_allclose(again, blended[:, order], atol=1e-12)


@given(st.integers(8, 200), st.integers(0, 8), st.floats(0.5, 0.9999))
def test_the_error_rate_follows_what_went_wrong(rows: int, wrong: int, sure: float) -> None:
    probabilities = [sure] * (rows - wrong) + [1 - sure] * wrong
    rate = error_rate(probabilities, [0.5] * rows)
    assert 0 < rate < 1
    more = error_rate([*probabilities[1:], 1 - sure], [0.5] * rows)
    # One right row fewer, one wrong row more; where the two say the same, rounding remains.
    assert more >= rate - 1e-12


def test_few_right_rows_support_little_certainty() -> None:
    truth = np.arange(32) % 2
    sure = np.where(np.eye(2)[truth] > 0, 1 - 1e-9, 1e-9)
    evidence = Evidence(dict.fromkeys(("model", "vote", "probe"), np.log(sure)))
    blend = fit_blend(evidence, truth, (0.5, 0.5), PRIOR, OTHERS)
    confidence = blend.apply(evidence).max(axis=1)
    assert (confidence < 1 - 1 / 256).all()
    assert (confidence > 1 - 1 / 16).all()


def related(n: int, seed: int, skill: float) -> tuple[Evidence, np.ndarray]:
    """Vote and probe as they come, and a feature model of some skill."""
    evidence, truth = experts(n, (0.0, 0.0, 0.0), seed)
    other, _ = experts(n, (skill, 0.0, 0.0), seed + 1000)
    other_truth = experts(n, (skill, 0.0, 0.0), seed + 1000)[1]
    order = np.empty(n, dtype=np.int64)
    order[np.argsort(truth, kind="stable")] = np.argsort(other_truth, kind="stable")
    scores = {name: evidence.scores[name] for name in ("vote", "probe")}
    return Evidence({**scores, "features": other.scores[MODEL][order]}), truth


def test_if_only_the_feature_model_is_informative_it_answers_alone() -> None:
    (prior, _), *more = expert_priors(["vote", "probe", "features"])
    evidence, truth = related(120, 1, 4.0)
    blend = fit_blend(evidence, truth, EVEN, prior, alternatives=more)
    assert blend.weights[1] > 0.9
    new, new_truth = related(900, 2, 4.0)
    alone = Fusion({"features": 1.0}).apply(new)
    assert loss(blend.apply(new), new_truth) < loss(alone, new_truth) + 0.02


def test_an_uninformative_feature_model_is_ignored() -> None:
    (prior, _), *more = expert_priors(["vote", "probe", "features"])
    evidence, truth = experts(200, (0.0, 3.0, 3.0), seed=9)
    noise, _ = experts(200, (0.0, 0.0, 0.0), seed=10)
    scores = {name: evidence.scores[name] for name in ("vote", "probe")}
    blend = fit_blend(
        Evidence({**scores, "features": noise.scores[MODEL]}), truth, EVEN, prior, alternatives=more
    )
    assert blend.weights[1] < 0.01
    assert blend.weights[2] > blend.weights[0]


def test_weights_are_not_fitted_on_the_rows_of_one_label() -> None:
    labels = np.array([0] * 30 + [1] * 3)
    assert usable_rows(np.bincount(labels), labels).all()
    labels = np.array([0] * 30 + [1] * 6 + [2])
    assert usable_rows(np.bincount(labels), labels).sum() == 36


@pytest.mark.parametrize("strong", [MODEL, EXPERTS])
def test_whichever_leads_the_common_answer_is_not_worse(strong: str) -> None:
    """32 labels, one source clearly better than the other: neither has a head start."""
    found: dict[str, list[float]] = {"common": [], "better": []}
    for seed in range(12):
        evidence, truth = two(32, 2.5, 0.8, seed, strong)
        new, new_truth = two(400, 2.5, 0.8, seed + 500, strong)
        prior, others = prior_fusion((MODEL, EXPERTS)), (EXPERTS_ALONE, MODEL_ALONE)
        blend = fit_blend(evidence, truth, (0.5, 0.5), prior, others)
        found["common"].append(loss(blend.apply(new), new_truth))
        found["better"].append(loss(np.exp(new.scores[strong]), new_truth))
    assert np.mean(found["common"]) < np.mean(found["better"])


def two(n: int, high: float, low: float, seed: int, strong: str) -> tuple[Evidence, np.ndarray]:
    """Calibrated model and experts on two labels, that err independently."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    sign = 2.0 * truth - 1

    def table(skill: float) -> np.ndarray:
        logit = skill**2 / 2 * sign + skill * rng.normal(size=n)  # of its own log-odds
        p = 1 / (1 + np.exp(-logit))
        return np.column_stack([1 - p, p])

    best, rest = table(high), table(low)
    return Evidence.of((), *((best, rest) if strong == MODEL else (rest, best))), truth


def test_the_model_stays_out_until_a_gain_of_more_than_one_standard_error() -> None:
    labels = np.array([0, 1] * 12)
    experts = np.where(np.eye(2)[labels] > 0, 0.7, 0.3)
    better = np.where(np.eye(2)[labels] > 0, 0.8, 0.2)
    assert adds_to_experts(experts, better, labels)
    assert not adds_to_experts(experts, experts, labels)
    assert not adds_to_experts(better, experts, labels)
    # Better on average, but by one row: the standard error is larger than the gain.
    once = experts.copy()
    once[:2] = [[0.95, 0.05], [0.31, 0.69]]
    assert not adds_to_experts(experts, once, labels)
    # Rows that stand for more examples count more.
    mixed = np.where((np.arange(24) < 12)[:, None], better, experts[:, ::-1])
    weights = np.where(np.arange(24) < 12, 1.0, 1e-6)
    assert not adds_to_experts(experts, mixed, labels)
    assert adds_to_experts(experts, mixed, labels, weights)
    assert not adds_to_experts(np.empty((0, 2)), np.empty((0, 2)), [])
