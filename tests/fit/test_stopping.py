"""Which examples a fit reads, and when it stops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import reviews
from scripted import ScriptedEngine

from ecomfs.calibration import fit_calibration
from ecomfs.calibration.blend import error_rate
from ecomfs.embed import HashedEmbedder
from ecomfs.estimators import FewShotClassifier
from ecomfs.experts import Experts
from ecomfs.fit.stopping import remaining_gain
from ecomfs.pipeline import Options, build_retriever, draw_left_out
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Example


def experts_of(pool: list[Example]) -> Experts:
    card = load_task("review_sentiment")
    rows, retriever = build_retriever(card, pool, HashedEmbedder(), Options(language="en"))
    assert retriever is not None
    return Experts(retriever, LabelSpace.resolve(card, (e.label for e in pool)).names, rows.card)


def test_hard_examples_are_drawn_more_often_and_weigh_less() -> None:
    pool = reviews(60)
    # Three that the experts must get wrong: good words, labelled as bad ones.
    wrong = [
        Example(f"w{i}", e.fields, "negative" if e.label == "positive" else "positive")
        for i, e in enumerate(pool[:3])
    ]
    pool = pool[3:] + wrong
    experts = experts_of(pool)
    hard = {e.id for e in wrong}
    drawn = [draw_left_out(pool, 12, seed, experts) for seed in range(40)]
    shown = np.mean([sum(e.id in hard for e in draw.examples) for draw in drawn])
    assert shown > 2 * 12 * len(hard) / len(pool)
    for draw in drawn:
        weight = dict(zip((e.id for e in draw.examples), draw.weights(12), strict=True))
        if hard & set(weight):
            assert min(weight, key=weight.__getitem__) in hard


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.integers(1, 60))
def test_weights_stand_for_the_whole_pool(seed: int, most: int) -> None:
    pool = reviews(40)
    draw = draw_left_out(pool, most, seed, experts_of(pool))
    size = min(most, len(pool))
    assert len({e.id for e in draw.examples}) == size
    weights = draw.weights(size)
    assert (weights > 0).all()
    if size == len(pool):
        assert np.ptp(weights) == 0
    else:
        assert weights.max() <= len(pool) / 0.5 / size + 1e-9
        # The beginning of a draw is the smaller draw.
        fewer = draw_left_out(pool, max(1, size // 2), seed, experts_of(pool))
        assert draw.examples[: len(fewer.examples)] == fewer.examples


def test_weighted_sums_estimate_the_pool() -> None:
    pool = reviews(60)
    experts = experts_of(pool)
    shares = []
    for seed in range(200):
        draw = draw_left_out(pool, 16, seed, experts)
        positive = np.array([e.label == "positive" for e in draw.examples])
        shares.append(np.average(positive, weights=draw.weights(16)))
    true = np.mean([e.label == "positive" for e in pool])
    assert abs(np.mean(shares) - true) < 0.04


def test_equal_weights_change_nothing_and_weights_count() -> None:
    read = [(0.8, 0.2), (0.7, 0.3), (0.4, 0.6), (0.3, 0.7)] * 4
    labels = [0, 0, 1, 0] * 4
    assert fit_calibration(read, labels, [3.0] * 16) == fit_calibration(read, labels)
    assert fit_calibration(read, labels, [1.0, 1.0, 1.0, 5.0] * 4) != fit_calibration(read, labels)
    right_often = error_rate([0.9, 0.1], [0.5, 0.5], [1.9, 0.1])
    assert right_often < error_rate([0.9, 0.1], [0.5, 0.5])


def test_nothing_is_left_to_gain_at_the_bound() -> None:
    truth = np.array([0, 1] * 24)

    def never(fitted: object, held: object) -> np.ndarray:
        raise AssertionError("nothing is fitted at the bound")

    assert remaining_gain(never, truth, np.ones(48), 48, seed=0) == 0


@pytest.mark.parametrize("asked", [{"precision": 0.9}, {"coverage": 0.9}, {"fusion": False}])
def test_guarantees_read_all_examples_drawn_alike(asked: dict[str, object]) -> None:
    engine = ScriptedEngine()
    clf = FewShotClassifier(
        "review_sentiment", engine, embedder="hashed", language="en", calibration_size=30, **asked
    ).fit(reviews(60))
    assert clf.profile_.found["readings"] == 30


def test_a_fit_stops_when_more_readings_would_gain_little() -> None:
    engine = ScriptedEngine()
    clf = FewShotClassifier(
        "review_sentiment", engine, embedder="hashed", language="en", calibration_size=60
    ).fit(reviews(200))
    assert clf.profile_.found["readings"] < 60
    assert sum(engine.calls) == clf.profile_.found["readings"]
