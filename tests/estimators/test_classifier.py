"""The scikit-learn contract and the forms of input data, with a scripted engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scripted import ScriptedEngine, classifier, examples

pytest.importorskip("sklearn")

from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_predict

from ecomfs.errors import ColumnError, ConfigError, DuplicateIdError, InputError, PoolError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.types import Example, Status

ROWS = ["it is fine", "it broke", "works"]


def new(**options: Any) -> FewShotClassifier:
    defaults: dict[str, Any] = {"k": 4, "embedder": "hashed", "calibration_size": 0}
    return FewShotClassifier("review_sentiment", ScriptedEngine(), **(defaults | options))


def test_contract() -> None:
    clf = new().fit(*examples())
    assert clf.classes_.tolist() == ["negative", "positive"]
    p = clf.predict_proba(ROWS)
    assert p.shape == (3, 2)
    assert p.sum(axis=1) == pytest.approx(np.ones(3))
    assert clf.predict(ROWS).tolist() == clf.classes_[p.argmax(axis=1)].tolist()
    assert 0 <= clf.score(*examples()) <= 1


def test_clone_and_parameters() -> None:
    clf = new(k=3, seed=7)
    twin = clone(clf)
    assert twin.get_params()["k"] == 3
    assert twin.set_params(k=2).k == 2
    assert clf.k == 3
    assert is_classifier(clf)
    with pytest.raises(ConfigError, match="no parameter 'kay'"):
        clf.set_params(kay=1)
    assert "k=3" in repr(clf)
    assert "budget" not in repr(clf)


def test_cross_validation() -> None:
    texts, labels = examples(12)
    found = cross_val_predict(new(), np.array(texts, dtype=object), np.array(labels), cv=3)
    assert set(found) <= {"positive", "negative"}


def test_every_shape_of_rows_gives_the_same_answers() -> None:
    clf = new().fit(*examples())
    expected = clf.predict(ROWS).tolist()
    frame = pd.DataFrame({"Review": ROWS, "shop": list("abc")})
    shapes: list[Any] = [
        pd.Series(ROWS),
        np.array(ROWS, dtype=object),
        [{"text": row} for row in ROWS],
        frame,
        iter(ROWS),
    ]
    for rows in shapes:
        assert clf.predict(rows).tolist() == expected


def test_every_shape_of_examples_gives_the_same_pool() -> None:
    texts, labels = examples()
    frame = pd.DataFrame({"text": texts, "label": labels, "id": [f"e{i}" for i in range(12)]})
    typed = [
        Example(f"e{i}", {"text": t}, y) for i, (t, y) in enumerate(zip(texts, labels, strict=True))
    ]
    expected = new().fit(texts, labels).predict(ROWS).tolist()
    for pool in (frame, typed, Pool.in_memory(typed)):
        assert new().fit(pool).predict(ROWS).tolist() == expected


def test_numeric_labels_come_back_as_they_were() -> None:
    texts, labels = examples()
    clf = new().fit(texts, [int(y == "positive") for y in labels])
    assert set(clf.predict(ROWS)) <= {0, 1}
    assert set(clf.classes_) == {0, 1}


def test_a_failed_row_is_none_and_nan_never_a_default() -> None:
    clf = classifier(ScriptedEngine(fails_on="Review: poison"))
    assert clf.predict(["fine", "poison"])[1] is None
    assert np.isnan(clf.predict_proba(["fine", "poison"])[1]).all()
    empty = clf.classify(["fine", " "])[1]
    assert (empty.status, empty.label, empty.error) == (
        Status.FAILED,
        None,
        "field 'text' is empty",
    )


def test_missing_values_are_that_rows_failure() -> None:
    clf = new().fit(*examples())
    frame = pd.DataFrame({"text": ["fine", None, float("nan"), pd.NA]})
    assert [str(p.status) for p in clf.classify(frame)] == ["ok", "failed", "failed", "failed"]


def test_zero_shot_needs_no_examples() -> None:
    clf = new(k=0).fit([])
    assert clf.classify(ROWS)[0].demonstration_ids == ()
    assert clf.classes_.tolist() == ["negative", "positive"]


def test_explain_has_demonstrations_prompt_and_reading() -> None:
    explanation = new(language="en").fit(*examples()).explain("it broke")
    told = explanation.to_dict()
    assert len(told["demonstrations"]) == 4
    assert told["prompt"].endswith("Review: it broke\nSentiment:")
    assert sum(told["probabilities"].values()) == pytest.approx(1)
    assert told["label_mass"] == pytest.approx(0.9)
    text = str(explanation)
    assert "label mass: 0.900" in text
    assert told["demonstrations"][0]["id"] in text


def test_language_follows_the_row() -> None:
    clf = new().fit(*examples())
    english, chinese = clf.explain("it broke"), clf.explain("质量太差了")
    assert english.state.language == "en"
    assert chinese.state.language == "zh"
    assert chinese.to_dict()["prompt"].endswith("评论：质量太差了\n情感：")
    assert set(chinese.prediction.probabilities) == {"positive", "negative"}


def test_the_label_bias_is_fitted_on_the_pool() -> None:
    texts, labels = examples(40)
    engine = ScriptedEngine()
    FewShotClassifier(
        "review_sentiment", engine, k=2, embedder="hashed", language="en", calibration_size=24
    ).fit(texts, labels)
    assert sum(engine.calls) == 24


@pytest.mark.parametrize(
    ("X", "y", "kind", "message"),
    [
        (["a", "b"], ["positive"], InputError, "2 rows but 1 labels"),
        (["a", "b"], None, ConfigError, "examples without labels"),
        (["a", "b"], ["positive", ""], InputError, "example 1 .* has no label"),
        (["a", " "], ["positive", "negative"], InputError, "field 'text' is empty"),
        (["a", "b"], ["positive", "positive"], PoolError, "all labelled examples"),
        (pd.DataFrame({"text": ["a"]}), None, ColumnError, "no column 'label'"),
        (
            [Example("1", {"text": "a"}, "pos"), Example("1", {"text": "b"}, "neg")],
            None,
            DuplicateIdError,
            "'1'",
        ),
    ],
)
def test_bad_examples(X: Any, y: Any, kind: type[Exception], message: str) -> None:  # noqa: N803
    with pytest.raises(kind, match=message):
        new().fit(X, y)


def test_one_string_is_not_a_list_of_rows() -> None:
    with pytest.raises(ConfigError, match="give a list of texts"):
        new().fit(*examples()).predict("it broke")


def test_not_fitted() -> None:
    with pytest.raises(ConfigError, match="call fit first"):
        new().predict(ROWS)
