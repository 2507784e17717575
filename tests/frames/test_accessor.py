"""``df.ecomfs``: a new frame with the same index; the original is unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scripted import ScriptedEngine, classifier, examples

from ecomfs.batch import COLUMNS
from ecomfs.errors import ColumnError, ConfigError, EmptyInputError
from ecomfs.estimators import FewShotClassifier
from ecomfs.frames import EcomfsAccessor
from ecomfs.pool import Pool
from ecomfs.types import Example

TEXTS, LABELS = examples()
POOL = pd.DataFrame({"text": TEXTS, "label": LABELS})
OPTIONS: dict[str, Any] = {
    "engine": ScriptedEngine(),
    "k": 4,
    "embedder": "hashed",
    "language": "en",
    "calibration_size": 0,
}


def frame(**more: Any) -> pd.DataFrame:
    data = {"text": ["good cup", "", "broke"], "shop": [1, 2, 3], **more}
    return pd.DataFrame(data, index=pd.Index([7, 7, "x"], name="key"))


def test_columns_are_added_beside_and_nothing_is_changed() -> None:
    data = frame()
    assert isinstance(data.ecomfs, EcomfsAccessor)
    before = data.copy(deep=True)
    out = data.ecomfs.classify("review_sentiment", POOL, **OPTIONS)
    pd.testing.assert_frame_equal(data, before)
    pd.testing.assert_index_equal(out.index, data.index)
    assert list(out.columns) == ["text", "shop", *COLUMNS]
    pd.testing.assert_frame_equal(out[["text", "shop"]], before)
    assert out["status"].to_list() == ["ok", "failed", "ok"]
    assert out["predicted"].isna().to_list() == [False, True, False]
    assert set(out["predicted"].dropna()) <= {"positive", "negative"}
    assert "field 'text' is empty" in out["error"].iloc[1]
    assert out["confidence"].dtype == np.float64
    assert np.isnan(out["confidence"].iloc[1])
    assert len(out["demonstration_ids"].iloc[0].split()) == 4


def test_classify_equals_the_classifier() -> None:
    clf = classifier()
    out = frame().ecomfs.classify(clf, probabilities=True)
    predictions = clf.classify(frame())
    assert out["predicted"].iloc[0] == predictions[0].label
    for name in ("positive", "negative"):
        assert out[f"p_{name}"].iloc[2] == predictions[2].probabilities[name]
    assert out["p_positive"].isna().to_list() == [False, True, False]


def test_names_that_are_taken_get_a_suffix() -> None:
    data = frame(status=["a", "b", "c"], predicted=[0, 0, 0], status_2=["d", "e", "f"])
    out = data.ecomfs.classify("review_sentiment", POOL, **OPTIONS)
    assert out["status"].to_list() == ["a", "b", "c"]
    assert out["status_2"].to_list() == ["d", "e", "f"]
    assert out["status_3"].to_list() == ["ok", "failed", "ok"]
    assert out["predicted"].to_list() == [0, 0, 0]
    assert "predicted_2" in out.columns


@pytest.mark.parametrize("form", ["frame", "file", "pool", "objects"])
def test_every_form_of_examples(tmp_path: Path, form: str) -> None:
    made = [
        Example(str(i), {"text": t}, y) for i, (t, y) in enumerate(zip(*examples(), strict=True))
    ]
    path = tmp_path / "pool.csv"
    POOL.to_csv(path, index=False)
    forms = {"frame": POOL, "file": path, "pool": Pool.in_memory(made), "objects": made}
    out = frame().ecomfs.classify("review_sentiment", forms[form], **OPTIONS)
    assert out["status"].to_list() == ["ok", "failed", "ok"]


def test_labels_come_back_as_they_were_given() -> None:
    pool = pd.DataFrame({"text": TEXTS, "y": [int(label == "positive") for label in LABELS]})
    out = frame().ecomfs.classify("review_sentiment", pool, label_column="y", **OPTIONS)
    assert set(out["predicted"].dropna()) <= {0, 1}
    for name in ("predicted", "suggestion"):  # beside a row without one, they are still integers
        assert [isinstance(v, Integral) for v in out[name]] == [True, False, True]


def test_zero_shot_and_no_rows() -> None:
    out = frame().ecomfs.classify("review_sentiment", **OPTIONS)
    assert out["demonstration_ids"].to_list() == ["", "", ""]
    none = frame().iloc[:0].ecomfs.classify("review_sentiment", POOL, **OPTIONS)
    assert len(none) == 0
    assert list(none.columns) == ["text", "shop", *COLUMNS]


def test_evaluate_is_the_harness_with_the_baselines() -> None:
    data = frame(truth=["positive", "negative", None])
    out = data.ecomfs.evaluate("truth", "review_sentiment", POOL, **OPTIONS)
    assert list(out["system"].unique()) == ["LLM", "kNN only", "majority"]
    assert list(out["metric"].unique()) == ["accuracy", "f1_macro", "roc_auc", "log_loss"]
    answers = data.ecomfs.classify("review_sentiment", POOL, **OPTIONS)["predicted"]
    right = [a == t for a, t in zip(answers.iloc[:2], data["truth"].iloc[:2], strict=True)]
    one = out[(out["system"] == "LLM") & (out["metric"] == "accuracy")].iloc[0]
    assert one["value"] == np.mean(right)  # the row that failed is wrong
    assert one["n"] == 2
    assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1


def test_rows_that_abstain_keep_suggestion_and_confidence_and_are_measured_apart() -> None:
    """Twelve readings of an engine that guesses show no precision: every row abstains."""
    options = OPTIONS | {"calibration_size": 12, "precision": 0.95, "coverage": 0.9}
    data = pd.DataFrame({"text": ["good cup", "broke"], "truth": ["positive", "negative"]})
    out = data.ecomfs.classify("review_sentiment", POOL, probabilities=True, **options)
    assert out["predicted"].isna().all()
    p = out[["p_negative", "p_positive"]].to_numpy()
    assert out["confidence"].to_list() == p.max(axis=1).tolist()
    assert out["suggestion"].to_list() == [["negative", "positive"][i] for i in p.argmax(axis=1)]
    assert all(
        json.loads(cell)[0] == s
        for cell, s in zip(out["prediction_set"], out["suggestion"], strict=True)
    )
    assert set(out["note"]) == {"abstained: needs review"}
    found = data.ecomfs.evaluate("truth", "review_sentiment", POOL, **options)
    mine = found[found["system"] == "ecomfs"].set_index("metric")
    assert mine.loc["answered_rate", "value"] == 0
    assert np.isnan(mine.loc["accuracy_answered", "value"])
    assert "no row was answered" in mine.loc["accuracy_answered", "note"]


def test_what_is_not_defined_is_missing_with_a_reason() -> None:
    data = frame(truth=["positive", "positive", "positive"])
    out = data.ecomfs.evaluate("truth", "review_sentiment", POOL, **OPTIONS)
    one = out[(out["system"] == "LLM") & (out["metric"] == "roc_auc")].iloc[0]
    assert np.isnan(one["value"])
    assert "only one class in gold" in one["note"]


@pytest.mark.parametrize(
    ("data", "options", "kind", "message"),
    [
        (frame().rename(columns={"text": "words"}), {}, ColumnError, "no column 'text'"),
        (frame().rename(columns={"shop": "text"}), {}, ColumnError, "2 columns are called 'text'"),
        (
            pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
            {},
            ColumnError,
            "several levels",
        ),
        (frame(), {"label_column": "y"}, ColumnError, "examples: no column 'y'"),
        (frame(), {"k": -1}, ConfigError, "k = -1"),
    ],
)
def test_invalid_calls_are_errors(
    data: pd.DataFrame, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        data.ecomfs.classify("review_sentiment", POOL, **{**OPTIONS, **options})
    assert message in str(caught.value)


def test_a_fitted_classifier_takes_no_options() -> None:
    with pytest.raises(ConfigError, match="a fitted classifier, and options beside it"):
        frame().ecomfs.classify(classifier(), k=3)
    with pytest.raises(ConfigError, match="call fit first"):
        frame().ecomfs.classify(FewShotClassifier())


def test_evaluate_needs_a_truth() -> None:
    with pytest.raises(ColumnError, match="no column 'truth'"):
        frame().ecomfs.evaluate("truth", classifier())
    with pytest.raises(EmptyInputError, match="holds no true label"):
        frame(truth=[None, "", " "]).ecomfs.evaluate("truth", classifier())


@pytest.mark.parametrize(
    ("statement", "there"),
    [
        ("import ecomfs, pandas", True),
        ("import pandas, ecomfs", True),
        ("import ecomfs.frames; import pandas", True),
        ("import pandas; import ecomfs.frames", True),
        ("from ecomfs.frames import EcomfsAccessor; import pandas", True),
        ("from ecomfs import FewShotClassifier; import pandas", True),
        # Whether a module is there may be asked for before it is imported.
        ("import ecomfs, importlib.util as u; u.find_spec('pandas'); import pandas", True),
    ],
)
def test_when_it_is_registered(statement: str, there: bool) -> None:
    code = f"{statement}; print(hasattr(pandas.DataFrame, 'ecomfs'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == str(there)


def test_true_labels_of_32_bits_are_those_of_the_pool() -> None:
    y = np.array([0.1 if label == "positive" else 0.2 for label in LABELS], dtype=np.float32)
    data = pd.DataFrame({"title": TEXTS, "label": y})
    clf = FewShotClassifier("product_category", **OPTIONS).fit(data)
    # A true label that no example has would be a warning, which is an error here.
    found = data.ecomfs.evaluate("label", clf, metrics=["accuracy"])
    model = found[found["system"] == "LLM"].iloc[0]
    assert model["n"] == len(TEXTS)
    assert model["value"] == clf.score(TEXTS, y) > 0
