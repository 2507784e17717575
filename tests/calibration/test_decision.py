"""Decisions for a batch: each row is independent of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.calibration import (
    MODEL_ALONE,
    Blend,
    Calibration,
    DecisionPolicy,
    Fusion,
    Novelty,
    novelty_signs,
)
from ecomfs.types import Opinion, Posterior

RNG = np.random.default_rng(0)
BLEND = Blend((Fusion({"model": 0.7, "vote": 0.5}), MODEL_ALONE), (0.7, 0.2, 0.1), (0.2, 0.3, 0.5))
CHEAP = Blend((Fusion({"vote": 0.7}),), (0.9, 0.1), (0.2, 0.3, 0.5))
KNOWN = novelty_signs(
    RNG.normal(0.8, 0.1, 30), RNG.dirichlet([5, 1, 1], 30), RNG.uniform(0.5, 1, 30)
)
FULL = DecisionPolicy(BLEND, CHEAP, 0.6, 0.5, 0.2, Novelty.fit(KNOWN), 0.1)
CALIBRATIONS = (None, Calibration((0.0, 0.5, -0.5), 1.0, 40, 1.5))


def row(seed: int) -> tuple[Posterior, Opinion, Calibration | None]:
    rng = np.random.default_rng(seed)
    posterior = Posterior(tuple(rng.dirichlet([1, 1, 1]).tolist()), float(rng.uniform(0.1, 1)))
    vote = tuple(np.log(rng.dirichlet([1, 1, 1])).tolist())
    return posterior, Opinion({"vote": vote}, float(rng.uniform())), CALIBRATIONS[seed % 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=12))
def test_a_row_is_decided_alike_alone_and_in_a_batch(rows: list[tuple[int, bool, bool]]) -> None:
    posteriors, opinions, calibrations = [], [], []
    for seed, read, asked in rows:
        posterior, opinion, calibration = row(seed)
        posteriors.append(posterior if read or not asked else None)
        opinions.append(opinion if asked else None)
        calibrations.append(calibration)
    together = FULL.decide(posteriors, opinions, calibrations)
    assert len(together) == len(rows)
    for n, decision in enumerate(together):
        assert FULL.decide([posteriors[n]], [opinions[n]], [calibrations[n]]) == [decision]
        assert sum(decision.probabilities) == pytest.approx(1)
        source = "experts" if posteriors[n] is None else "fused" if opinions[n] else "model"
        assert decision.source == source
        assert decision.probabilities == list(decision.stages.values())[-1]
        assert (decision.novelty is None) == (opinions[n] is None)
        sure = max(decision.probabilities) >= 0.5
        known = decision.novelty is None or decision.novelty >= 0.1
        assert decision.accepted == (sure and known)


def test_without_experts_the_posterior_is_only_calibrated() -> None:
    posterior, _, _ = row(1)
    (bare,) = DecisionPolicy().decide([posterior])
    assert bare.probabilities == posterior.probabilities
    assert list(bare.stages) == ["read"]
    (calibrated,) = DecisionPolicy().decide([posterior], calibrations=[CALIBRATIONS[1]])
    assert list(calibrated.stages) == ["read", "calibrated"]
    assert calibrated.probabilities != posterior.probabilities


def test_a_row_without_posterior_and_opinion_cannot_be_decided() -> None:
    with pytest.raises(ValueError, match="needs an opinion"):
        FULL.decide([row(0)[0], None], [row(0)[1], None])
    with pytest.raises(ValueError, match="needs an opinion"):
        replace(FULL, experts_only=None).decide([None], [row(0)[1]])


def test_sure_experts_skip_the_model() -> None:
    sure, unsure = Opinion({"vote": (0.0, -9.0, -9.0)}), Opinion({"vote": (0.0, 0.0, 0.0)})
    assert FULL.skips([sure, unsure]) == [True, False]
    assert replace(FULL, skip_from=None).skips([sure, unsure]) == [False, False]
    assert FULL.skips([]) == []
