"""Scikit-learn's own checks of an estimator, on the three classifiers with a scripted engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scripted import ScriptedEngine

pytest.importorskip("sklearn")

from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted, validate_data

from ecomfs.engine import shared
from ecomfs.estimators import FewShotClassifier
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.estimators.taxonomy import TaxonomyClassifier

KINDS = (FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier)
OPTIONS: dict[str, Any] = {"embedder": "hashed", "language": "en", "calibration_size": 0, "k": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_the_checks_that_texts_allow_pass(kind: Any) -> None:
    # Of estimators of texts, scikit-learn checks the constructor, cloning, representations, tags.
    with pytest.warns(SkipTestWarning, match="requires input"):
        found = list(estimator_checks_generator(kind(engine=ScriptedEngine(), **OPTIONS)))
    assert found
    for estimator, check in found:
        check(estimator)


class Rows:
    """Scikit-learn's checks give arrays of numbers: here each row of one is a text."""

    def fit(self, X: Any, y: Any = None, **more: Any) -> Any:  # noqa: N803
        rows, y = validate_data(self, X, y)
        super().fit(self._texts(rows), self._given(y), **more)  # type: ignore[misc]
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        return super().predict(self._seen(X))  # type: ignore[misc]

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        return super().predict_proba(self._seen(X))  # type: ignore[misc]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803
        return super().score(self._seen(X), self._given(y), sample_weight)  # type: ignore[misc]

    def _seen(self, X: Any) -> list[str]:  # noqa: N803
        check_is_fitted(self)
        return self._texts(validate_data(self, X, reset=False))

    def _texts(self, X: Any) -> list[str]:  # noqa: N803
        return [" ".join(f"{value:.3g}" for value in row) for row in X]

    def _given(self, y: Any) -> Any:
        return y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.two_d_array = True
        tags.input_tags.string = tags.input_tags.allow_nan = False
        tags.target_tags.required = True
        tags.classifier_tags.poor_score = True  # a scripted engine knows nothing
        return tags


class FewShotRows(Rows, FewShotClassifier):
    pass


class MultiLabelPipeline(Rows, MultiLabelClassifier):
    def _given(self, y: Any) -> Any:
        return [{str(label)} for label in y]

    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.array([len(own) for own in super().predict(X)])  # numbers, to be compared


class TaxonomyPipeline(Rows, TaxonomyClassifier):
    def _given(self, y: Any) -> Any:
        return [f"all > {label}" for label in y]

    def predict(self, X: Any) -> Any:  # noqa: N803
        found = super().predict(X)
        return np.searchsorted(self.classes_, found)  # numbers, to be compared


ONE_CLASS = "the refusal of one class speaks of labels, the check looks for the word 'class'"
FAILED = {
    "check_array_api_input": "rows are texts",
    "check_classifiers_one_label": ONE_CLASS,
    "check_fit2d_1sample": ONE_CLASS,
    "check_classifiers_regression_target": "38.5 is a shoe size, and a label",
}
OWN = "a row has a set of labels, not one of classes_"
WHOLE = "labels are whole paths; of two that are equally likely, the first parent's is the answer"
CLASSES = ["check_classifiers_classes", "check_classifiers_train"]


@pytest.mark.parametrize(
    ("kind", "failed"),
    [
        (FewShotRows, {}),
        (MultiLabelPipeline, dict.fromkeys(CLASSES, OWN)),
        (TaxonomyPipeline, dict.fromkeys(CLASSES, WHOLE)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_all_checks_pass_or_say_why_not(
    kind: Any, failed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An engine that is opened again by its name, as pickled classifiers do.
    monkeypatch.setattr(shared, "open_engine", lambda spec: ScriptedEngine())
    monkeypatch.setattr(shared, "_checked", lambda engine: ())  # it has no context to exceed
    shared.close_shared()
    known = FAILED | failed
    found, unlike = set(), []
    estimator = kind("product_category", ScriptedEngine(), **OPTIONS)
    for each, check in estimator_checks_generator(estimator):
        name = getattr(check, "func", check).__name__
        found.add(name)
        try:
            check(each)
        except Exception as error:
            if name not in known:
                unlike.append(f"{name}: {error!r}")
    shared.close_shared()
    assert not unlike
    assert set(FAILED) <= found
