"""Predictions as scikit-learn's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecomfs.errors import InputError, RowError
from ecomfs.estimators.answers import accuracy, labels_of, probabilities_of
from ecomfs.types import Prediction, Status

GOOD = Prediction("1", "good", {"good": 0.9, "bad": 0.1})
BAD = Prediction("2", "bad", {"good": 0.2, "bad": 0.8})
FAILED = Prediction("3", None, status=Status.FAILED, error="an empty text")
TEXTS = {"bad": "bad", "good": "good"}
NUMBERS = {"bad": 0, "good": 1}


@pytest.mark.parametrize(("given", "kind"), [(TEXTS, "U"), (NUMBERS, "i")])
def test_labels_are_of_the_type_that_was_given(given: dict[str, Any], kind: str) -> None:
    found = labels_of([GOOD, BAD], given, np.array([*given.values()]))
    assert found.dtype.kind == kind
    assert found.tolist() == [given["good"], given["bad"]]


def test_a_row_without_a_label_is_none_among_texts_and_an_error_among_numbers() -> None:
    rows = [GOOD, FAILED]
    assert labels_of(rows, TEXTS, np.array(["bad", "good"])).tolist() == ["good", None]
    with pytest.raises(RowError, match=r"1 of 2 rows have no label \(rows 1; .*an empty text"):
        labels_of(rows, NUMBERS, np.array([0, 1]))


def test_columns_are_in_the_order_of_the_classes_and_a_failed_row_is_nan() -> None:
    found = probabilities_of([GOOD, FAILED], TEXTS)
    assert found[0].tolist() == [0.1, 0.9]
    assert np.isnan(found[1]).all()
    assert probabilities_of([], TEXTS).shape == (0, 2)


def test_rows_without_a_label_count_as_wrong() -> None:
    rows = [GOOD, BAD, FAILED]
    assert accuracy(rows, TEXTS, ["good", "good", "bad"], None) == pytest.approx(1 / 3)
    assert accuracy(rows, NUMBERS, [1, 0, 0], [1, 1, 2]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("truth", "weight", "message"),
    [(["good"], None, "2 rows but 1 labels"), (["good", "bad"], [1], "2 rows but 1 weights")],
)
def test_labels_and_weights_are_one_a_row(truth: list[str], weight: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        accuracy([GOOD, BAD], TEXTS, truth, weight)
    with pytest.raises(InputError, match="no rows to score"):
        accuracy([], TEXTS, [], None)
