"""Fusing model and experts: weights follow who is right, as far as the rows support it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import experts, loss

from ecomfs.calibration import PRIOR, PRIOR_CHEAP, Evidence, Fusion
from ecomfs.calibration.fusion import fit_fusion


def test_the_fused_answer_is_better_than_each_expert() -> None:
    fusion = fit_fusion(*experts(60, (1.5, 1.5, 1.5), seed=0))
    evidence, truth = experts(2000, (1.5, 1.5, 1.5), seed=1)
    fused = fusion.apply(evidence)
    assert loss(fused, truth) < min(loss(evidence.model, truth), loss(evidence.vote, truth)) - 0.1


@pytest.mark.parametrize("bad", [0, 1])
def test_an_expert_that_knows_nothing_loses_weight(bad: int) -> None:
    skill = [3.0, 3.0, 0.0]
    skill[bad] = 0.0
    fusion = fit_fusion(*experts(400, (skill[0], skill[1], 0.0), seed=2))
    weights, prior = (fusion.model, fusion.vote), (PRIOR.model, PRIOR.vote)
    assert weights[bad] / weights[1 - bad] < 0.6 * prior[bad] / prior[1 - bad]
    assert fusion.probe / weights[1 - bad] < PRIOR.probe / prior[1 - bad]


def test_where_no_expert_knows_anything_all_are_believed_less() -> None:
    fusion = fit_fusion(*experts(60, (0.0, 0.0, 0.0), seed=7))
    assert fusion.model < 0.6 * PRIOR.model
    assert fusion.vote < 0.6 * PRIOR.vote


def test_few_rows_leave_the_prior() -> None:
    evidence, truth = experts(7, (2.0, 0.0, 0.0), seed=3)
    assert fit_fusion(evidence, truth) == PRIOR
    evidence, truth = experts(40, (2.0, 0.0, 0.0), seed=3)
    few = np.arange(40) < 7
    assert fit_fusion(evidence, truth, usable=few) == PRIOR
    assert fit_fusion(evidence, truth).readings == 40
    assert fit_fusion(evidence, truth, usable=np.arange(40) < 20).readings == 20


def test_a_weight_of_zero_stays_and_its_expert_may_be_absent() -> None:
    evidence, truth = experts(100, (0.0, 2.0, 2.0), seed=4)
    absent = Evidence(np.full_like(evidence.model, np.nan), evidence.vote, evidence.probe)
    fusion = fit_fusion(absent, truth, PRIOR_CHEAP)
    assert fusion.model == 0.0
    assert np.isfinite(fusion.apply(absent)).all()


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
    fusion = Fusion(*weights)
    fused = fusion.apply(evidence)
    np.testing.assert_allclose(fused.sum(axis=1), 1)
    moved = Evidence(evidence.model[:, order], evidence.vote[:, order], evidence.probe[:, order])
    np.testing.assert_allclose(fusion.apply(moved), fused[:, order], atol=1e-12)
