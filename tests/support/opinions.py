"""Experts of known skill, for the tests of what is made of them."""

from __future__ import annotations

import numpy as np

from ecomfs.calibration import Evidence, log_scores


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
    # The probe's scores are no logarithms: any numbers will do.
    scores = {"model": log_scores(tables[0]), "vote": log_scores(tables[1]), "probe": tables[2]}
    return Evidence(scores), truth


def loss(p: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss."""
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())
