"""The linear probe: its closed form, and leave-one-out scores equal to those of refitting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.experts.probe import PENALTIES, LinearProbe


def pool(seed: int, n: int, d: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(labels, size=n)
    return rng.normal(size=(n, d)) + np.eye(labels, d)[y], y


def ridge(x: np.ndarray, y: np.ndarray, labels: int, penalty: float) -> tuple[np.ndarray, ...]:
    """By the normal equations, with an intercept that is not shrunk."""
    targets = np.eye(labels)[y]
    mean = x.mean(axis=0)
    c = x - mean
    weights = np.linalg.solve(c.T @ c + penalty * np.eye(x.shape[1]), c.T @ targets)
    return mean, weights, targets.mean(axis=0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 30),
    d=st.integers(1, 12),
    labels=st.integers(1, 4),
    copies=st.integers(0, 3),
)
def test_own_scores_are_those_of_a_pool_without_the_example(
    seed: int, n: int, d: int, labels: int, copies: int
) -> None:
    x, y = pool(seed, n, d, labels)
    x = np.vstack([x, x[:copies]])
    y = np.concatenate([y, y[:copies]])
    groups = [*range(n), *range(copies)]
    probe = LinearProbe.fit(x, y, labels, groups)
    centred = x - x.mean(axis=0)
    penalty = probe.penalty * (centred**2).sum(axis=1).mean()
    for i in range(len(x)):
        rest = [j for j in range(len(x)) if groups[j] != groups[i]]
        mean, weights, shares = ridge(x[rest], y[rest], labels, penalty)
        np.testing.assert_allclose(probe.own[i], (x[i] - mean) @ weights + shares, atol=1e-6)


def test_scores_are_those_of_ridge_regression() -> None:
    x, y = pool(0, 40, 6, 3)
    probe = LinearProbe.fit(x, y, 3)
    centred = x - x.mean(axis=0)
    mean, weights, shares = ridge(x, y, 3, probe.penalty * (centred**2).sum(axis=1).mean())
    np.testing.assert_allclose(probe.scores(x), (x - mean) @ weights + shares, atol=1e-9)
    np.testing.assert_allclose(probe.scores(x).sum(axis=1), 1)


def test_more_dimensions_than_examples() -> None:
    x, y = pool(1, 12, 200, 2)
    probe = LinearProbe.fit(x, y, 2)
    assert np.isfinite(probe.own).all()
    assert probe.penalty in PENALTIES


def test_noise_is_shrunk_to_the_shares() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0, 0, 0, 1] * 20)
    probe = LinearProbe.fit(rng.normal(size=(80, 40)), y, 2)
    assert probe.penalty == PENALTIES[-1]
    np.testing.assert_allclose(probe.scores(np.zeros((1, 40))), [[0.75, 0.25]], atol=0.1)


def test_one_example_or_equal_vectors_give_the_label_shares() -> None:
    one = LinearProbe.fit(np.ones((1, 3)), [1], 3)
    np.testing.assert_allclose(one.scores(np.zeros((2, 3))), [[0, 1, 0]] * 2)
    equal = LinearProbe.fit(np.ones((4, 3)), [0, 0, 0, 1], 2)
    np.testing.assert_allclose(equal.scores(np.ones((1, 3))), [[0.75, 0.25]])


def test_bad_arguments_are_reported() -> None:
    with pytest.raises(ValueError, match="at least one example"):
        LinearProbe.fit(np.empty((0, 3)), [], 2)
    with pytest.raises(ValueError, match="3 groups for 2 examples"):
        LinearProbe.fit(np.ones((2, 3)), [0, 1], 2, [0, 1, 2])
