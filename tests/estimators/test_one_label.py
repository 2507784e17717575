"""Predictions as scikit-learn's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ecomfs.errors import InputError, RowError
from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier
from ecomfs.estimators.one_label import OneLabelClassifier
from ecomfs.types import Prediction, Status

GOOD = Prediction("1", "good", {"good": 0.9, "bad": 0.1})
BAD = Prediction("2", "bad", {"good": 0.2, "bad": 0.8})
FAILED = Prediction("3", None, status=Status.FAILED, error="an empty text")
TEXTS = {"bad": "bad", "good": "good"}
NUMBERS = {"bad": 0, "good": 1}


class Fixed(OneLabelClassifier[Any]):
    """Gives the rows that are put to it, which are predictions, as its answers."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._classes, self.classes_ = given, np.array([*given.values()])

    def classify(self, X: Any, ids: Sequence[str] | None = None) -> list[Prediction]:  # noqa: N803
        return list(X)


@pytest.mark.parametrize(("given", "kind"), [(TEXTS, "U"), (NUMBERS, "i")])
def test_labels_are_of_the_type_that_was_given(given: dict[str, Any], kind: str) -> None:
    found = Fixed(given).predict([GOOD, BAD])
    assert found.dtype.kind == kind
    assert found.tolist() == [given["good"], given["bad"]]


def test_a_row_without_a_label_is_none_among_texts_and_an_error_among_numbers() -> None:
    rows = [GOOD, FAILED]
    assert Fixed(TEXTS).predict(rows).tolist() == ["good", None]
    with pytest.raises(RowError, match=r"1 of 2 rows have no label \(rows 1; .*an empty text"):
        Fixed(NUMBERS).predict(rows)


def test_columns_are_in_the_order_of_the_classes_and_a_failed_row_is_nan() -> None:
    found = Fixed(TEXTS).predict_proba([GOOD, FAILED])
    assert found[0].tolist() == [0.1, 0.9]
    assert np.isnan(found[1]).all()
    assert Fixed(TEXTS).predict_proba([]).shape == (0, 2)


def test_rows_without_a_label_count_as_wrong() -> None:
    rows = [GOOD, BAD, FAILED]
    assert Fixed(TEXTS).score(rows, ["good", "good", "bad"]) == pytest.approx(1 / 3)
    assert Fixed(NUMBERS).score(rows, [1, 0, 0], [1, 1, 2]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("truth", "weight", "message"),
    [(["good"], None, "2 rows but 1 labels"), (["good", "bad"], [1], "2 rows but 1 weights")],
)
def test_labels_and_weights_are_one_a_row(truth: list[str], weight: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Fixed(TEXTS).score([GOOD, BAD], truth, weight)
    with pytest.raises(InputError, match="no rows to score"):
        Fixed(TEXTS).score([], [])


@pytest.mark.parametrize("weight", [[0, 0], [float("nan"), 1], [-1, 2]])
def test_weights_without_a_mean_are_refused(weight: list[float]) -> None:
    with pytest.raises(InputError, match="negative or not a number, or only zeros"):
        Fixed(TEXTS).score([GOOD, BAD], ["good", "bad"], weight)


def test_true_labels_are_read_as_in_fit() -> None:
    texts = ["lovely soft", "lovely nice", "torn bad", "torn ugly"] * 2
    labels = ["positive", "pos", "negative", "NEG"] * 2
    few = FewShotClassifier("review_sentiment", None, embedder="hashed", language="en")
    assert few.fit(texts, labels).score(texts, labels) == 1
    assert few.score(texts[:2], ["no label", None]) == 0
    numbers = [1, 1, 0, 0] * 2
    named = FewShotClassifier(
        "review_sentiment", None, embedder="hashed", label_names=["negative", "positive"]
    )
    assert named.fit(texts, numbers).score(texts, numbers) == 1
    leaves = ["Home > Lamps", "home>lamps", "Food > Tea", "Food > Tea"] * 2
    tree = TaxonomyClassifier("product_category", None, embedder="hashed")
    assert tree.fit(texts, leaves).score(texts, leaves) == 1
    sets = [["good", "late"], ["good"], ["late"], []] * 2
    several = MultiLabelClassifier("customer_intent", None, embedder="hashed").fit(texts, sets)
    found = several.predict(texts)
    assert several.score(texts, found) == 1
    assert several.score(texts, [[label.upper() for label in own] for own in found]) == 1
