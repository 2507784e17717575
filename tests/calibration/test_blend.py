"""Several accounts of who knows: each is believed as far as the examples bear it out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import experts, loss

from ecomfs.calibration import (
    MODEL_ALONE,
    PRIOR,
    PRIOR_CHEAP,
    Blend,
    Evidence,
    Fusion,
    cross_calibrated,
    cross_fitted,
    fit_blend,
)
from ecomfs.calibration.blend import doubtful_share

EVEN = (1 / 3,) * 3
OTHERS = (PRIOR_CHEAP, MODEL_ALONE)


@pytest.mark.parametrize(
    ("skill", "known"), [((0.0, 3.0, 3.0), 1), ((4.0, 0.0, 0.0), 2), ((0.0, 0.0, 0.0), 3)]
)
def test_the_account_that_holds_is_believed(skill: tuple[float, float, float], known: int) -> None:
    blend = fit_blend(*experts(60, skill, seed=0), EVEN, others=OTHERS)
    assert sum(blend.beliefs) == pytest.approx(1)
    # Beside it only that all know something: its weights may come close to the truth too.
    assert blend.beliefs[0] + blend.beliefs[known] > 0.9
    assert blend.beliefs[known] > 0.1


def test_where_nobody_knows_the_shares_speak() -> None:
    evidence, _ = experts(90, (0.0, 0.0, 0.0), seed=1)
    shares = (0.7, 0.2, 0.1)
    truth = np.random.default_rng(1).choice(3, size=90, p=shares)
    blend = fit_blend(evidence, truth, shares, others=OTHERS)
    later, _ = experts(500, (0.0, 0.0, 0.0), seed=2)
    then = np.random.default_rng(2).choice(3, size=500, p=shares)
    best = loss(np.tile(shares, (500, 1)), then)
    assert loss(blend.apply(later), then) == pytest.approx(best, abs=0.02)


def test_too_few_rows_believe_that_all_know() -> None:
    evidence, truth = experts(7, (2.0, 0.0, 0.0), seed=3)
    blend = fit_blend(evidence, truth, EVEN, others=OTHERS)
    assert blend == Blend((PRIOR, *OTHERS), (1.0, 0.0, 0.0, 0.0), EVEN)
    np.testing.assert_allclose(blend.apply(evidence), PRIOR.apply(evidence))


def test_experts_alone_do_without_a_model() -> None:
    evidence, truth = experts(60, (0.0, 2.0, 2.0), seed=4)
    absent = Evidence(np.full_like(evidence.model, np.nan), evidence.vote, evidence.probe)
    blend = fit_blend(absent, truth, EVEN, PRIOR_CHEAP)
    assert len(blend.beliefs) == 2
    assert np.isfinite(blend.apply(absent)).all()


def test_cross_fitted_answers_do_not_know_their_own_label() -> None:
    evidence, _ = experts(60, (0.0, 0.0, 0.0), seed=5)
    truth = np.random.default_rng(6).integers(3, size=60)
    own = fit_blend(evidence, truth, EVEN, others=OTHERS).apply(evidence)
    assert loss(cross_fitted(evidence, truth, EVEN, others=OTHERS), truth) > loss(own, truth)


def test_a_model_that_knows_nothing_does_not_look_better_cross_calibrated() -> None:
    evidence, _ = experts(48, (0.0, 0.0, 0.0), seed=8, labels=2)
    truth = np.random.default_rng(9).integers(2, size=48)
    assert loss(cross_calibrated(evidence.model.tolist(), truth.tolist()), truth) > np.log(2)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
    st.permutations(range(4)),
)
def test_distributions_that_follow_the_labels_when_these_change_places(
    seed: int, beliefs: list[float], order: list[int]
) -> None:
    evidence, _ = experts(5, (1.0, 1.0, 1.0), seed, labels=4)
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    held = tuple(b / sum(beliefs) for b in beliefs)
    accounts = (PRIOR, Fusion(0.0, 1.0, 2.0), MODEL_ALONE)
    blended = Blend(accounts, held, tuple(shares)).apply(evidence)
    np.testing.assert_allclose(blended.sum(axis=1), 1)
    moved = Evidence(evidence.model[:, order], evidence.vote[:, order], evidence.probe[:, order])
    again = Blend(accounts, held, tuple(shares[order])).apply(moved)
    np.testing.assert_allclose(again, blended[:, order], atol=1e-12)


@given(st.integers(8, 200), st.integers(0, 8), st.floats(0.5, 0.9999))
def test_doubt_follows_what_went_wrong(rows: int, wrong: int, sure: float) -> None:
    said = [sure] * (rows - wrong) + [1 - sure] * wrong
    doubt = doubtful_share(said, [0.5] * rows)
    assert 0 < doubt < 1
    more = doubtful_share([*said[1:], 1 - sure], [0.5] * rows)
    # One right row fewer, one wrong row more; where the two say the same, rounding remains.
    assert more >= doubt - 1e-12


def test_right_rows_bear_out_no_more_certainty_than_they_are_many() -> None:
    truth = np.arange(32) % 2
    sure = np.where(np.eye(2)[truth] > 0, 1 - 1e-9, 1e-9)
    evidence = Evidence(sure, sure, np.log(sure))
    blend = fit_blend(evidence, truth, (0.5, 0.5), others=OTHERS)
    confidence = blend.apply(evidence).max(axis=1)
    assert (confidence < 1 - 1 / 128).all()
    assert (confidence > 1 - 1 / 16).all()
