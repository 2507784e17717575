"""Learning curves: values, bands with both sources of variation, nested balanced samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecomfs_eval import METRICS, Bootstrap, Predictions
from ecomfs_eval.errors import EmptyDataError, OptionError
from ecomfs_eval.learning_curve import LearningRun, learning_curve

FAST = Bootstrap(resamples=400)


def run(size: int, share: float, seed: int, n: int = 200) -> LearningRun:
    rng = np.random.default_rng([seed, size])
    right = rng.random(n) < share
    return LearningRun(size, Predictions.of(["a"] * n, np.where(right, "a", "b"), name="s"), seed)


def test_points_are_means_over_runs_in_order_of_size() -> None:
    runs = [run(32, 0.9, 0), run(8, 0.6, 0), run(8, 0.7, 1), run(32, 0.9, 1)]
    curve = learning_curve(runs, "accuracy", how=FAST)
    assert (curve.system, curve.metric, curve.axis) == ("s", "accuracy", "labelled examples")
    assert [p.size for p in curve.points] == [8, 32]
    values = [METRICS["accuracy"](r.predictions).value for r in runs]
    assert curve.points[0].value == pytest.approx((values[1] + values[2]) / 2)  # type: ignore[operator]
    for p in curve.points:
        assert p.low is not None
        assert p.high is not None
        assert p.value is not None
        assert p.low < p.value < p.high
    assert curve.to_dict()["points"][1]["runs"] == 2


def test_the_band_holds_the_luck_of_the_draw_of_examples() -> None:
    alike = learning_curve([run(8, 0.7, s) for s in range(5)], "accuracy", how=FAST).points[0]
    apart = learning_curve(
        [run(8, share, s) for s, share in enumerate((0.5, 0.6, 0.7, 0.8, 0.9))],
        "accuracy",
        how=FAST,
    ).points[0]
    assert alike.high is not None
    assert alike.low is not None
    assert apart.high is not None
    assert apart.low is not None
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


def test_the_band_of_one_run_has_a_note() -> None:
    point = learning_curve([run(8, 0.7, 0)], "accuracy", how=FAST).points[0]
    assert point.note == "one run: the band leaves out the draw of examples"


def test_runs_on_different_rows_are_resampled_apart() -> None:
    # Five folds with rows of their own: the mean of independent folds has a narrower band.
    shared = [run(8, 0.7, s, n=100) for s in range(5)]
    folds = [
        LearningRun(
            8, replace(r.predictions, ids=tuple(f"{r.seed}-{i}" for i in range(100))), r.seed
        )
        for r in shared
    ]
    one = learning_curve(shared, "accuracy", how=FAST).points[0]
    two = learning_curve(folds, "accuracy", how=FAST).points[0]
    assert one.value == two.value
    assert (one.low, one.high) != (two.low, two.high)


def test_an_undefined_point_says_why() -> None:
    point = learning_curve([run(8, 0.7, 0)], "roc_auc", how=FAST).points[0]
    assert (point.value, point.low) == (None, None)
    assert point.note == "undefined in a run: no row has probabilities"


def test_a_value_without_spread_has_no_band() -> None:
    right = [run(8, 1.0, seed) for seed in range(2)]
    [point] = learning_curve(right, "accuracy", how=FAST).points
    assert (point.value, point.low, point.high) == (1.0, None, None)
    assert point.note == "every resample gives the same value, so its spread is unknown"


def test_senseless_input_is_refused() -> None:
    with pytest.raises(EmptyDataError):
        learning_curve([], "accuracy")
    with pytest.raises(OptionError, match="same seed"):
        learning_curve([run(8, 0.5, 0), run(8, 0.5, 0)], "accuracy")
