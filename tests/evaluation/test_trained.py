from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine

from ecomfs.batch import Gold, read_examples
from ecomfs.estimators import FewShotClassifier
from ecomfs.evaluation.evaluate import systems
from ecomfs.evaluation.trained import raw_columns, trained
from ecomfs.pipeline import Pipeline
from ecomfs.task import load_task
from ecomfs_eval import get_metric

SAMPLES = Path(__file__).parents[2] / "samples"


def pipeline(task: str, **options: Any) -> Pipeline:
    options = {"embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    clf = FewShotClassifier(task, ScriptedEngine(), **options)
    return clf.fit(read_examples(SAMPLES / task / "pool.csv", load_task(task))).pipeline_


def gold(task: str, n: int = 20) -> Gold:
    rows = read_examples(SAMPLES / task / "test.csv", load_task(task))[:n]
    return Gold([r.id for r in rows], [r.fields for r in rows], [r.label for r in rows], [])


def test_texts_have_a_linear_model_and_tables_have_boosting_too() -> None:
    assert list(trained(gold("review_sentiment"), pipeline("review_sentiment"))) == ["TF-IDF + LR"]
    found = trained(gold("purchase_intent"), pipeline("purchase_intent"))
    assert list(found) == ["TF-IDF + LR", "boosting", "features + LR", "features + boosting"]
    for p in found.values():
        assert len(p) == 20
        assert p.probabilities is not None
        assert p.probabilities.sum(axis=1) == pytest.approx(1)


def test_the_positive_class_is_that_of_the_card() -> None:
    from dataclasses import replace

    rows = gold("purchase_intent", 40)
    made = pipeline("purchase_intent")
    clf = FewShotClassifier(
        "purchase_intent", ScriptedEngine(), embedder="hashed", calibration_size=0
    ).fit(made.retriever.examples if made.retriever else [])
    rows = replace(rows, predictions=clf.classify(list(rows.rows)))
    found = {**systems(rows, made), **trained(rows, made)}
    assert {p.positive for p in found.values()} == {"buy"}
    prevalence = rows.labels.count("buy") / len(rows.labels)
    assert get_metric("pr_auc")(found["majority"]).value == pytest.approx(prevalence)


def test_rows_pair_with_those_of_the_other_baselines() -> None:
    from dataclasses import replace

    made = pipeline("review_sentiment")
    full = gold("review_sentiment")
    full.labels[3] = ""  # a row without a true label is not scored
    full.labels[5] = "meh"  # a label that nobody can give
    predictions = (
        FewShotClassifier(
            "review_sentiment", ScriptedEngine(), embedder="hashed", calibration_size=0
        )
        .fit(made.retriever.examples if made.retriever else [])
        .classify(list(full.rows))
    )
    full = replace(full, predictions=predictions)
    ours = systems(full, made)["LLM"]
    theirs = trained(full, made)["TF-IDF + LR"]
    assert theirs.ids == ours.ids
    assert theirs.gold == ours.gold
    assert theirs.labels == ours.labels
    assert len(theirs) == 19


def test_without_examples_there_is_nothing_to_train_on() -> None:
    zero_shot = FewShotClassifier("review_sentiment", ScriptedEngine(), embedder="hashed").fit([])
    assert trained(gold("review_sentiment"), zero_shot.pipeline_) == {}
    assert trained(Gold(), pipeline("review_sentiment")) == {}


def test_features_are_cells_that_somebody_filled(tmp_path: Path) -> None:
    card = load_task("purchase_intent")
    path = tmp_path / "pool.csv"
    with path.open("w", newline="") as file:
        rows = [["id", "pages_viewed", "month", "weekend", "label"], ["a", 3, "", "no", "buy"]]
        csv.writer(file).writerows([*rows, ["b", 4, "", "yes", "leave"]])
    assert raw_columns(card, read_examples(path, card)) == ["pages_viewed", "weekend"]
    history = load_task("next_category")
    assert raw_columns(history, read_examples(SAMPLES / "next_category/pool.csv", history)) == []
