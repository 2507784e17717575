"""Experts of known skill, for the tests of what is made of them."""

from __future__ import annotations

import numpy as np

from ecomfs.calibration import Evidence


def experts(
    n: int, skill: tuple[float, float, float], seed: int, labels: int = 3
) -> tuple[Evidence, np.ndarray]:
    """Three experts whose logits favour the true label by their skill."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % labels)
    tables = []
    for value in skill:
        z = rng.normal(size=(n, labels))
        z[np.arange(n), truth] += value
        tables.append(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))
    return Evidence(tables[0], tables[1], tables[2]), truth


def loss(p: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss."""
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())
