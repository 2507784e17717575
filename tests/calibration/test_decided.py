"""Rows that are decided without the model: no reading could give them another label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecomfs.calibration import (
    EXPERTS,
    EXPERTS_ALONE,
    MODEL,
    MODEL_ALONE,
    Blend,
    Calibration,
    DecisionPolicy,
    Evidence,
    Fusion,
)
from ecomfs.types import Opinion, Posterior


def blend(rng: np.random.Generator, size: int) -> Blend:
    """Any fusion of model, experts and label shares; often one that leans on the experts."""
    together = Fusion({MODEL: float(rng.gamma(1, 0.4)), EXPERTS: float(rng.gamma(2, 0.5))})
    weights = rng.dirichlet([1, rng.choice([1, 20]), rng.choice([0.05, 1]), 0.3])
    shares = rng.dirichlet(np.ones(size))
    return Blend((together, EXPERTS_ALONE, MODEL_ALONE), tuple(weights), tuple(shares))


def calibration(rng: np.random.Generator, size: int) -> Calibration | None:
    if rng.random() < 0.3:
        return None
    offsets = rng.normal(0, 2, size)
    return Calibration(tuple(offsets - offsets.mean()), 1.0, 40, float(rng.uniform(0.3, 4)))


def readings(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """All that a model may read: any distribution, sure of one label, or of two in any shares."""
    sure = np.eye(size)
    shares = rng.random(20)[:, None]
    one, other = (sure[rng.integers(size, size=20)] for _ in range(2))
    pairs = shares * one + (1 - shares) * other
    return np.vstack([sure, np.full((1, size), 1 / size), rng.dirichlet(np.ones(size), 20), pairs])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9), st.integers(2, 12))
def test_no_reading_changes_the_label_of_a_decided_row(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    fusion, known = blend(rng, size), calibration(rng, size)
    experts_only = Blend((Fusion({"vote": 1.0}),), (1.0,))
    policy = DecisionPolicy(fusion=fusion, experts_only=experts_only)
    scores = np.log(rng.dirichlet(np.full(size, rng.choice([0.05, 0.3, 1])), 8) + 1e-12)
    opinions = [Opinion({"vote": tuple(row)}, 0.9) for row in scores.tolist()]
    for opinion, sure in zip(opinions, policy.decided(opinions, [known] * 8), strict=True):
        every = [Posterior(tuple(p), 0.9) for p in readings(rng, size).tolist()]
        n = len(every)
        answers = policy.decide(every, [opinion] * n, [known] * n)
        (alone,) = policy.decide([None], [opinion])
        label = int(np.argmax(alone.probabilities))
        changed = any(int(np.argmax(a.probabilities)) != label for a in answers)
        assert not (sure and changed)
        if size == 2:  # the bound is reached: a row that is left to the model may change
            assert sure or changed or min(abs(a.probabilities[0] - 0.5) for a in answers) < 1e-6


def test_a_model_without_weight_changes_nothing() -> None:
    rows = Evidence.of((), None, [[0.51, 0.49], [0.99, 0.01]])
    useless = Blend((Fusion({MODEL: 0.0, EXPERTS: 0.7}), EXPERTS_ALONE, MODEL_ALONE), (0.5, 0.5, 0))
    assert useless.decided(rows).tolist() == [True, True]
    leading = Blend((Fusion({MODEL: 0.7, EXPERTS: 0.7}), EXPERTS_ALONE, MODEL_ALONE), (1.0, 0, 0))
    assert leading.decided(rows).tolist() == [False, False]


def test_outputs_beyond_the_label_need_every_reading() -> None:
    policy = DecisionPolicy(
        fusion=Blend((EXPERTS_ALONE, MODEL_ALONE), (1.0, 0.0)),
        experts_only=Blend((Fusion({"vote": 1.0}),), (1.0,)),
    )
    opinion = Opinion({"vote": (0.0, -3.0)}, 0.9)
    assert policy.decided([opinion]) == [True]
    for name in ("accept_from", "set_from", "novel_below", "fusion", "experts_only"):
        value = None if name in ("fusion", "experts_only") else 0.5
        assert replace(policy, **{name: value}).decided([opinion]) == [False]
    assert policy.decided([]) == []


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_calibration_that_trusts_the_model_less_decides_more(temperature: float) -> None:
    few = Blend((Fusion({MODEL: 0.3, EXPERTS: 1.0}), EXPERTS_ALONE, MODEL_ALONE), (1.0, 0, 0))
    p = np.linspace(0.5, 1, 400)[1:-1]
    rows = Evidence.of((), None, np.stack([p, 1 - p], axis=1))
    found = [
        few.decided(rows, Calibration((0.0, 0.0), 1.0, 40, t)).sum()
        for t in (temperature, 2 * temperature)
    ]
    assert found[0] <= found[1]


def test_without_a_part_of_the_model_every_row_is_decided_even_a_tie() -> None:
    rows = Evidence.of((), None, [[0.5, 0.5], [0.2, 0.8]])
    assert Blend((EXPERTS_ALONE,), (0.9, 0.1), (0.5, 0.5)).decided(rows).all()
