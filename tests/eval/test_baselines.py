"""Baselines are fitted on the labelled rows alone, and give a reason if they cannot be fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ecomfs_eval import Predictions
from ecomfs_eval.baselines import BASELINES, LabelledRows, gradient_boosting, knn, run_baselines
from ecomfs_eval.errors import DataError, EmptyDataError, OptionError
from ecomfs_eval.metrics import Undefined

WORDS = {"good": ["excellent", "love it", "works great"], "bad": ["broken", "awful", "refund"]}


def rows(n: int, seed: int, *, flip: bool = False) -> LabelledRows:
    """Rows whose label shows in the text, in the vector and in the table."""
    rng = np.random.default_rng(seed)
    labels = [str(x) for x in rng.choice(["good", "bad"], size=n)]
    sign = np.array([1.0 if x == "good" else -1.0 for x in labels])
    return LabelledRows.of(
        [("bad" if x == "good" else "good") for x in labels] if flip else labels,
        texts=[f"{rng.choice(WORDS[x])} item {rng.integers(99)}" for x in labels],
        vectors=np.column_stack([sign, rng.normal(size=(n, 3)) * 0.5]),
        table=pd.DataFrame(
            {
                "stars": [str(4 if s > 0 else 2) for s in sign],
                "shop": rng.choice(["north", "south"], size=n),
                "note": rng.choice(["", "7"], size=n),
            }
        ),
        features=np.column_stack([rng.normal(size=n), 3.0 * sign]),
    )


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_predicts_every_row(name: str) -> None:
    train, test = rows(60, 0), rows(40, 1)
    p = BASELINES[name](train, test)
    assert isinstance(p, Predictions)
    assert p.ids == test.ids
    assert p.name == name
    assert p.labels == ("bad", "good")
    assert p.has_distribution.all()
    accuracy = float(np.mean(p.gold_index == p.predicted_index))
    if name not in ("majority", "prior_random"):
        assert accuracy >= 0.95


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_sees_the_labels_it_is_scored_on(name: str) -> None:
    train, test, flipped = rows(60, 0), rows(40, 1), rows(40, 1, flip=True)
    p, q = BASELINES[name](train, test), BASELINES[name](train, flipped)
    assert isinstance(p, Predictions)
    assert isinstance(q, Predictions)
    assert p.predicted == q.predicted


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_predictions(name: str) -> None:
    p, q = (BASELINES[name](rows(60, 0), rows(40, 1), 3) for _ in range(2))
    assert isinstance(p, Predictions)
    assert isinstance(q, Predictions)
    assert p.predicted == q.predicted


def test_prior_random_follows_the_priors() -> None:
    train = LabelledRows.of(["a"] * 80 + ["b"] * 20)
    p = BASELINES["prior_random"](train, LabelledRows.of(["a"] * 2000))
    assert isinstance(p, Predictions)
    assert 0.76 < np.mean([x == "a" for x in p.predicted]) < 0.84
    assert p.probabilities is not None
    assert p.probabilities[0].tolist() == [0.8, 0.2]


def test_a_label_the_labelled_rows_lack_gets_probability_zero() -> None:
    p = BASELINES["majority"](LabelledRows.of(["a"]), LabelledRows.of(["b", "a"]))
    assert isinstance(p, Predictions)
    assert p.labels == ("a", "b")
    assert p.probabilities is not None
    assert p.probabilities[:, 1].tolist() == [0, 0]


def test_a_baseline_that_cannot_be_fitted_has_a_reason() -> None:
    train, test = LabelledRows.of(["a", "a"], texts=["x", "y"]), LabelledRows.of(["a"], texts=["x"])
    found = run_baselines(train, test)
    reasons = {k: v.reason for k, v in found.items() if isinstance(v, Undefined)}
    assert reasons == {
        "knn": "no vectors were given",
        "tfidf_logistic": "the labelled rows have one class only ('a')",
        "embedding_logistic": "no vectors were given",
        "gradient_boosting": "no table of features was given",
        "features_logistic": "no features were given",
        "features_boosting": "no features were given",
    }
    empty = LabelledRows.of(["a", "b"], texts=["", " "])
    found = run_baselines(empty, test, ["tfidf_logistic"])
    assert found["tfidf_logistic"] == Undefined("every labelled text is empty")


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        (["👍", "👎", "👍👍", "👎👎", "👍!", "👎!"], "👍👍👍"),
        (["很好用", "坏了", "喜欢", "质量差", "好看", "差评"], "好用"),
    ],
)
def test_texts_of_signs_and_of_chinese_can_be_read(texts: list[str], asked: str) -> None:
    train = LabelledRows.of(["good", "bad"] * 3, texts=texts)
    p = BASELINES["tfidf_logistic"](train, LabelledRows.of(["good"], texts=[asked]))
    assert isinstance(p, Predictions)
    assert p.predicted == ("good",)


def test_knn_takes_no_more_neighbours_than_there_are() -> None:
    train = LabelledRows.of(["a", "b"], vectors=[[1, 0], [0, 1]])
    p = knn(50)(train, LabelledRows.of(["b"], vectors=[[0.1, 1]]))
    assert isinstance(p, Predictions)
    assert p.predicted == ("b",)


def test_a_category_never_seen_counts_as_missing() -> None:
    train = LabelledRows.of(["x", "y"] * 10, table=pd.DataFrame({"c": ["m", "n"] * 10}))
    p = gradient_boosting(train, LabelledRows.of(["x"], table=pd.DataFrame({"c": ["new"]})))
    assert isinstance(p, Predictions)


def test_senseless_input_is_refused() -> None:
    with pytest.raises(EmptyDataError):
        LabelledRows.of([])
    with pytest.raises(DataError, match="texts has 1 values for 2 rows"):
        LabelledRows.of(["a", "b"], texts=["x"])
    with pytest.raises(OptionError, match="no baseline is called 'best'"):
        run_baselines(LabelledRows.of(["a"]), LabelledRows.of(["a"]), ["best"])
    with pytest.raises(OptionError, match="k=0"):
        knn(0)
    table = pd.DataFrame({"a": ["1", "2"]})
    other = LabelledRows.of(["x", "y"], table=table.rename(columns={"a": "b"}))
    with pytest.raises(DataError, match="columns differ"):
        gradient_boosting(LabelledRows.of(["x", "y"], table=table), other)
