"""The guarantees hold on new rows with the stated probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.calibration import accept_threshold, set_threshold, skip_threshold
from ecomfs.calibration.conformal import prediction_set
from ecomfs.errors import ConfigError


def rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences and outcomes of a reader that is surer than it should be."""
    confidence = rng.beta(4, 1.5, n)
    return confidence, rng.random(n) < confidence**1.3


def test_guaranteed_precision_fails_no_more_often_than_delta() -> None:
    rng = np.random.default_rng(0)
    big, right = rows(rng, 200_000)
    failed = promised = 0
    for _ in range(400):
        found = accept_threshold(*rows(rng, 200), precision=0.85, delta=0.1)
        if found is None:
            continue
        promised += 1
        failed += right[big >= found.value].mean() < 0.85
    assert promised > 200
    assert failed <= 0.1 * 400 + 3 * np.sqrt(400 * 0.1 * 0.9)


def tables(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Tables of 160 rows, most confident first: the positions of the wrong ones make it hard or
    easy.
    """
    even = np.ones(160, dtype=bool)
    even[9::10] = False  # 90 % at every threshold
    late = np.arange(160) < 100  # sure rows are right
    late[100::2] = True
    start = rng.random(160) > np.where(np.arange(160) < 40, 0.15, 0.05)  # sure rows are worse
    chance = rng.random(160) < 0.9
    surer = rng.random(160) < np.linspace(1.0, 0.7, 160)
    confidence = np.linspace(1.0, 0.2, 160)
    found = {"even": even, "late": late, "start": start, "chance": chance, "surer": surer}
    out = {name: (confidence, right) for name, right in found.items()}
    return {**out, "tied": (np.ceil(confidence * 8) / 8, surer)}


@pytest.mark.parametrize("name", ["even", "late", "start", "chance", "surer", "tied"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_batch_keeps_the_precision_promised_for_it(name: str, share: float) -> None:
    rng = np.random.default_rng(2)
    confidence, right = tables(rng)[name]
    n, splits, failed, promised = round(share * 160), 1000, 0, 0
    for _ in range(splits):
        order = rng.permutation(160)
        fit, new = order[:n], order[n:]
        found = accept_threshold(confidence[fit], right[fit], 0.9, batch=confidence[new])
        if found is None:
            continue
        promised += 1
        accepted = right[new][confidence[new] >= found.value]
        failed += len(accepted) > 0 and accepted.mean() < 0.9
    assert failed <= 0.1 * splits + 3 * np.sqrt(splits * 0.1 * 0.9)
    if name == "late":
        assert promised > splits / 4  # and it is not idle


def test_the_bound_for_a_batch_needs_no_labels_of_it_and_can_take_its_confidences() -> None:
    score, right = np.linspace(1, 0.5, 60), np.arange(60) < 50
    batch = np.linspace(1, 0.5, 33)
    found = accept_threshold(score, right, 0.8, batch=batch)
    assert found is not None
    assert found.value in batch or found.value in score
    assert accept_threshold(score, right, 0.8, batch=[]) is None
    assert accept_threshold(score, ~right, 0.8, batch=batch) is None


@pytest.mark.parametrize("batch", [0.5, [0.5, float("nan")], [[0.5]]])
def test_a_batch_that_is_no_list_of_confidences_is_reported(batch: object) -> None:
    with pytest.raises(ConfigError, match="the batch must be a list"):
        accept_threshold([0.5], [True], 0.9, batch=batch)  # type: ignore[arg-type]


def test_answers_without_the_model_lose_no_more_than_promised_on_average() -> None:
    rng = np.random.default_rng(1)
    big, right = rows(rng, 200_000)
    losses = []
    for _ in range(400):
        found = skip_threshold(*rows(rng, 150), max_loss=0.05)
        losses.append(0.0 if found is None else float(((big >= found.value) & ~right).mean()))
    assert np.mean(losses) <= 0.05 + 3 * np.std(losses) / 20
    assert np.mean(losses) > 0.02  # and it is not idle


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.8, 0.9, 0.95]))
def test_sets_cover(seed: int, coverage: float) -> None:
    rng = np.random.default_rng(seed)
    covered = []
    for _ in range(100):
        p = rng.dirichlet([1.0] * 5, 120)
        truth = np.array([rng.choice(5, p=row**2 / (row**2).sum()) for row in p])
        threshold = set_threshold(p[np.arange(60), truth[:60]], coverage)
        covered += [truth[i] in prediction_set(p[i], threshold) for i in range(60, 120)]
    assert np.mean(covered) >= coverage - 3 * np.sqrt(coverage * (1 - coverage) / 100 / 20)


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9]), st.booleans()), max_size=200),
    st.sampled_from([0.5, 0.7, 0.9]),
)
def test_thresholds_are_confidences_that_were_seen(
    pairs: list[tuple[float, bool]], precision: float
) -> None:
    confidence, right = [c for c, _ in pairs], [r for _, r in pairs]
    for found in (
        accept_threshold(confidence, right, precision),
        skip_threshold(confidence, right, 1 - precision),
    ):
        if found is None:
            continue
        reached = [r for c, r in pairs if c >= found.value]
        assert found.value in confidence
        assert found.share == pytest.approx(len(reached) / len(pairs))
        assert found.error == pytest.approx(reached.count(False) / len(reached))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0, 1))
def test_a_set_is_never_empty_and_holds_the_likeliest(p: list[float], threshold: float) -> None:
    chosen = prediction_set(p, threshold)
    assert p[chosen[0]] == max(p)
    assert len(set(chosen)) == len(chosen)
    assert all(p[i] >= threshold for i in chosen[1:])


def test_no_rows_promise_nothing() -> None:
    assert accept_threshold([], [], 0.9) is None
    assert skip_threshold([], [], 0.1) is None
    assert set_threshold([], 0.9) == 0.0


@pytest.mark.parametrize("value", [0.0, 1.0, 1.5, -0.1])
def test_numbers_out_of_range_are_reported(value: float) -> None:
    with pytest.raises(ConfigError, match="precision is"):
        accept_threshold([0.5], [True], value)
    with pytest.raises(ConfigError, match="coverage is"):
        set_threshold([0.5], value)
    with pytest.raises(ConfigError, match="max_loss is"):
        skip_threshold([0.5], [True], value)


def test_lists_of_different_lengths_are_reported() -> None:
    with pytest.raises(ConfigError, match="confidences but"):
        accept_threshold([0.5, 0.6], [True], 0.9)


def test_confidences_that_are_no_numbers_are_refused() -> None:
    scores, right = [0.9] * 60 + [float("nan")], [True] * 61
    for choose in (accept_threshold, skip_threshold):
        with pytest.raises(ConfigError, match="1 of 61 confidences are not numbers"):
            choose(scores, right, 0.1)
    with pytest.raises(ConfigError, match="1 of 61 confidences are not numbers"):
        set_threshold(scores, 0.9)
