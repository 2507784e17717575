from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.calibration import Calibration, fit_calibration


def skewed(n: int, size: int, skew: float, seed: int) -> tuple[list[tuple[float, ...]], list[int]]:
    """Posteriors of a model that knows the answer but prefers label 0 by ``skew`` nats."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % size)
    logits = rng.normal(0, 1, (n, size))
    logits[np.arange(n), truth] += 2.0
    logits[:, 0] += skew
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return [tuple(row) for row in p.tolist()], truth.tolist()


def log_loss(rows: list[tuple[float, ...]], truth: list[int]) -> float:
    return float(-np.mean([np.log(row[t]) for row, t in zip(rows, truth, strict=True)]))


@pytest.mark.parametrize("size", [2, 8])
def test_a_bias_is_taken_off_unseen_rows(size: int) -> None:
    bias = fit_calibration(*skewed(64, size, 3.0, seed=1))
    assert bias is not None
    rows, truth = skewed(400, size, 3.0, seed=2)
    calibrated = [bias.apply(row) for row in rows]
    assert log_loss(calibrated, truth) < log_loss(rows, truth) - 0.1

    def right(table: list[tuple[float, ...]]) -> float:
        return float(np.mean(np.argmax(table, axis=1) == truth))

    assert right(calibrated) > right(rows) + 0.1


def test_no_bias_is_left_alone_or_nearly() -> None:
    rows, truth = skewed(400, 4, 0.0, seed=3)
    bias = fit_calibration(*skewed(64, 4, 0.0, seed=4))
    calibrated = rows if bias is None else [bias.apply(row) for row in rows]
    assert log_loss(calibrated, truth) < log_loss(rows, truth) + 0.03


def test_too_few_readings_estimate_nothing() -> None:
    rows, truth = skewed(7, 2, 3.0, seed=5)
    assert fit_calibration(rows, truth) is None


P = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda v: sum(v) > 0)


@settings(max_examples=50)
@given(P, st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_the_result_is_a_distribution(values: list[float], offsets: list[float]) -> None:
    p = [v / sum(values) for v in values]
    out = Calibration(tuple(offsets), 1.0, 64).apply(p)
    assert sum(out) == pytest.approx(1)
    assert min(out) >= 0


@given(st.integers(8, 30), st.data())
@settings(max_examples=30)
def test_never_fails_on_extreme_readings(n: int, data: st.DataObject) -> None:
    hot = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    truth = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    rows = [tuple(float(i == h) for i in range(3)) for h in hot]
    bias = fit_calibration(rows, truth)
    assert bias is None or all(np.isfinite(bias.offsets))
