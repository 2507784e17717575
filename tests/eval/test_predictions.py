"""Predictions validate themselves; every message names the row and has a hint."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from ecomfs_eval import EvalError, Predictions
from ecomfs_eval import errors as e


def make(**changes: Any) -> Predictions:
    base: dict[str, Any] = {
        "gold": ["a", "b"],
        "predicted": ["a", "b"],
        "labels": ["a", "b"],
        "ids": ["r1", "r2"],
    }
    return Predictions.of(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gold": [], "predicted": [], "ids": []}, e.EmptyDataError, "no rows"),
        ({"ids": ["r1", "r1"]}, e.DataError, "id 'r1' is used by rows 1 and 2"),
        ({"predicted": ["a"]}, e.DataError, "predicted has 1 values for 2 rows"),
        ({"gold": ["a", "z"]}, e.DataError, r"row 2 \(id 'r2'\): gold label 'z'"),
        ({"predicted": ["z", "a"]}, e.DataError, r"row 1 \(id 'r1'\): predicted label 'z'"),
        ({"labels": ["a", "b", "a"]}, e.DataError, "empty or repeated label"),
        ({"positive": "z"}, e.DataError, "positive class 'z'"),
        ({"status": ["ok", "great"]}, e.DataError, "row 2 .*status 'great' is not known"),
        (
            {"predicted": ["a", None], "status": ["ok", "ok"]},
            e.DataError,
            "status is ok but there is no predicted label",
        ),
        ({"latency": np.array([0.1, -1.0])}, e.DataError, "row 2 .*latency is -1"),
        ({"cost": np.array([0.1, np.inf])}, e.DataError, "cost is inf"),
        (
            {"prompt_tokens": np.array([5.0, 5]), "cached_tokens": np.array([5.0, 6])},
            e.DataError,
            "6 cached tokens of 5 prompt tokens",
        ),
        ({"slices": {"lang": ("en",)}}, e.DataError, r"slices\['lang'\] has 1 values"),
        (
            {"probabilities": [[0.5, 0.4], [0.5, 0.5]]},
            e.DataError,
            r"row 1 \(id 'r1'\): probabilities sum to 0.9, not 1",
        ),
        (
            {"probabilities": [[0.5, 0.5], [1.5, -0.5]]},
            e.DataError,
            "row 2 .*probability 1.5 of label 'a'",
        ),
        (
            {"probabilities": [[0.5, 0.5], [1.0, np.nan]]},
            e.DataError,
            "row 2 .*no probability for label 'b'",
        ),
        ({"probabilities": [[1.0], [1.0]]}, e.DataError, r"shape \(2, 1\) for 2 labels"),
        ({"predicted": None}, e.DataError, "neither predicted labels nor probabilities"),
    ],
)
def test_bad_rows_are_typed_errors(
    changes: dict[str, Any], error: type[EvalError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        make(**changes)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_errors_survive_a_process_border() -> None:
    error = e.DataError("no column", hint="add it")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (e.DataError, str(error))


def test_rounded_probabilities_are_normalised() -> None:
    p = make(probabilities=[[0.667, 0.332], [0.5, 0.5]])
    assert p.probabilities is not None
    np.testing.assert_allclose(p.probabilities.sum(axis=1), 1, atol=1e-15)


def test_normalising_twice_changes_nothing() -> None:
    p = make(probabilities=[[8 / 21, 13 / 21], [0.3331, 0.6669]])
    q = make(probabilities=p.probabilities)
    assert p.probabilities is not None
    assert q.probabilities is not None
    assert (p.probabilities == q.probabilities).all()


def test_answers_default_to_the_most_probable_label() -> None:
    p = Predictions.of(["a", "b", "b"], probabilities=[[0.3, 0.7], [0.5, 0.5], [np.nan] * 2])
    assert p.predicted == ("b", "a", None)
    assert p.status == ("ok", "ok", "invalid")
    assert p.has_distribution.tolist() == [True, True, False]


def test_an_abstained_answer_is_kept_and_not_counted() -> None:
    p = make(status=["ok", "abstained"])
    assert p.predicted == ("a", "b")
    assert p.predicted_index.tolist() == [0, -1]


def test_take_keeps_every_column_in_step() -> None:
    p = make(
        probabilities=[[0.9, 0.1], [0.2, 0.8]],
        groups=("u", "v"),
        queries=("q", "r"),
        slices={"lang": ("en", "zh")},
        extra={"text": ("one", "two")},
        latency=np.array([0.1, 0.2]),
        cost=np.array([1.0, 2.0]),
    ).take([1])
    assert (p.ids, p.groups, p.queries) == (("r2",), ("v",), ("r",))
    assert (p.slices, p.extra) == ({"lang": ("zh",)}, {"text": ("two",)})
    assert p.probabilities is not None
    assert p.latency is not None
    assert p.probabilities.tolist() == [[0.2, 0.8]]
    assert p.latency.tolist() == [0.2]


def test_a_larger_label_space_adds_labels_with_probability_zero() -> None:
    p = Predictions.of(
        ["no", "yes"], probabilities=[[0.9, 0.1], [np.nan, np.nan]], predicted=["no", "yes"]
    )
    wide = p.with_labels(["maybe", "no", "yes"])
    assert wide.labels == ("maybe", "no", "yes")
    assert wide.probabilities is not None
    assert wide.probabilities[0].tolist() == [0.0, 0.9, 0.1]
    assert np.isnan(wide.probabilities[1]).all()
    assert (wide.predicted, wide.gold, wide.positive) == (p.predicted, p.gold, None)
    assert p.with_labels(p.labels) is p
