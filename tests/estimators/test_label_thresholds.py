"""Thresholds with the best F1, shrunk towards 0.5 if few examples have the label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from sklearn.metrics import f1_score

from ecomfs.estimators.multilabel import fit_threshold

READINGS = st.lists(
    st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1, max_size=30
).filter(lambda rows: any(truth for _, truth in rows))


def f1(p: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    return float(f1_score(truth, p >= threshold, zero_division=0))


@given(READINGS)
def test_without_a_prior_no_threshold_is_better(rows: list[tuple[float, bool]]) -> None:
    p, truth = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = fit_threshold(p, truth, prior=0)
    best = max(f1(p, truth, cut) for cut in [*p, 0.0, 0.5, 1.0])
    assert found.f1 == pytest.approx(best)
    assert found.value == pytest.approx(found.best)
    assert (found.yes, found.readings) == (truth.sum(), len(rows))


@given(READINGS, st.floats(0.1, 50))
def test_the_prior_draws_towards_one_half(rows: list[tuple[float, bool]], prior: float) -> None:
    p, truth = [r[0] for r in rows], [r[1] for r in rows]
    free = fit_threshold(p, truth, prior=0).value
    drawn = fit_threshold(p, truth, prior).value
    assert min(free, 0.5) - 1e-12 <= drawn <= max(free, 0.5) + 1e-12
    # Twice the examples say the same with more weight.
    again = fit_threshold(p * 2, truth * 2, prior)
    assert abs(again.value - 0.5) >= abs(drawn - 0.5) - 1e-12


def test_the_threshold_stays_one_half_without_evidence() -> None:
    found = fit_threshold([0.9, 0.8, 0.2], [True, True, False])
    assert (found.value, found.f1) == (0.5, 1.0)


def test_a_label_without_examples_is_undefined() -> None:
    found = fit_threshold([0.9, 0.1], [False, False])
    assert (found.value, found.best, found.f1, found.yes) == (0.5, None, None, 0)
    assert fit_threshold([], []).readings == 0
