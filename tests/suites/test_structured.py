"""Suites with several labels per row and with hierarchies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_suite import SAMPLES, small

from ecomfs.errors import ConfigError, UnknownLabelError
from ecomfs.suites import Suite, load_suite, plan, run_suite, suite_board, write_details
from ecomfs.task import load_task
from ecomfs_eval import Bootstrap
from ecomfs_eval.manifest import read_results
from ecomfs_eval.metrics import USUAL
from ecomfs_eval.report import render_html, render_json, render_markdown

TREE = str(Path(__file__).parents[2] / "eval" / "tasks" / "product_path")
SETS: dict[str, Any] = {
    "name": "aspects",
    "task": "review_aspects",
    "pool": {"file": "review_aspects/pool.csv"},
    "test": {"file": "review_aspects/test.csv", "rows": 20},
}
PATHS: dict[str, Any] = {
    "name": "paths",
    "task": TREE,
    "pool": {"file": "product_path/pool.csv"},
    "test": {"file": "product_path/test.csv", "rows": 20},
}
REVIEWS: dict[str, Any] = {
    "name": "reviews",
    "task": "review_sentiment",
    "pool": {"file": "review_sentiment/pool.csv"},
    "test": {"file": "review_sentiment/test.csv", "rows": 12},
}
QUICK = Bootstrap(resamples=100)
TRAINED = ["tfidf_logistic", "embedding_logistic"]


def suite(*datasets: dict[str, Any], **changes: Any) -> Suite:
    systems = ["ecomfs", "stages", "knn", "majority", "prior_random", "rule", *TRAINED]
    given = {"seeds": [0], "shots": [40], "systems": systems}
    given |= {"options": {"embedder": "hashed", "calibration_size": 0}, **changes}
    return small(datasets=list(datasets), **given)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several") / "out"
    outcome = run_suite(suite(SETS, PATHS, REVIEWS), folder, data=SAMPLES, engine="none")
    assert (len(outcome.run), outcome.failed) == (3, ())
    return folder


def test_sets_are_compared_with_baselines_on_the_same_labels(results: Path) -> None:
    found = read_results(results / "cells/aspects/n40-s0")
    systems = {p.name: p for p in found.systems}
    assert set(systems) == {"ecomfs", "knn", "majority", "prior_random", *TRAINED}
    names = tuple(label.name for label in load_task("review_aspects").labels)
    assert {p.classes for p in systems.values()} == {names}
    assert len({p.gold for p in systems.values()}) == 1
    # As many labels a row as the examples have: no baseline is silent.
    for name in ("knn", *TRAINED):
        p = systems[name]
        assert p.structure is not None
        assert sum(len(p.structure.parts[a or "[]"]) for a in p.predicted) >= len(p)
    assert len(set(systems["majority"].predicted)) == 1


def test_whole_labels_are_compared_with_baselines_on_whole_labels(results: Path) -> None:
    found = read_results(results / "cells/paths/n40-s0")
    systems = {p.name: p for p in found.systems}
    assert set(systems) == {
        *("ecomfs", "ecomfs:level one", "knn", "majority", "prior_random", *TRAINED)
    }
    for p in systems.values():
        assert p.kind == "hierarchy"
        assert all(" > " in label for label in p.labels)
        assert p.probabilities is not None


def test_each_table_has_the_metrics_of_its_labels(results: Path) -> None:
    board = suite_board(results, how=QUICK)
    tables = {group.name: group.metrics for group in board.groups}
    assert tables == {
        "aspects": USUAL["sets"],
        "paths": USUAL["hierarchy"],
        "reviews": USUAL["flat"],
    }
    for group in board.groups:
        for metric in group.metrics[:3]:
            assert group.averages["ecomfs"][metric].score.value is not None
    page, text = render_html(board), render_markdown(board)
    for title in ("Jaccard index", "Subset accuracy", "F1, hierarchical", "Accuracy, level 1"):
        assert title in page
        assert title in text
    assert "level_accuracy@1" in render_json(board)


def test_details_are_written(results: Path, tmp_path: Path) -> None:
    pages = write_details(results, tmp_path, how=QUICK)
    text = {page.name: page.read_text(encoding="utf-8") for page in pages}
    assert "Subset accuracy" in text["aspects-n40-s0.html"]
    assert "F1, hierarchical" in text["paths-n40-s0.html"]


def test_a_metric_that_is_undefined_here_is_refused(results: Path, tmp_path: Path) -> None:
    wrong = suite(REVIEWS, SETS, metrics=["f1_macro", "log_loss"])
    with pytest.raises(ConfigError) as caught:
        run_suite(wrong, tmp_path / "out", data=SAMPLES, engine="none")
    assert "data set 'aspects': log_loss with task 'review_aspects' is not defined where" in str(
        caught.value
    )
    assert "f1_micro" in caught.value.hint
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="--metric: roc_auc with task 'review_aspects'"):
        suite_board(results, metrics=["roc_auc"], how=QUICK)
    flat = suite_board(results, only=["reviews"], metrics=["roc_auc"], how=QUICK)
    assert flat.metrics == ("roc_auc",)


def test_an_option_that_the_classifier_does_not_have_fails_its_cell(tmp_path: Path) -> None:
    given = {**SETS, "options": {"passes": 2}}
    outcome = run_suite(suite(given), tmp_path, data=SAMPLES, engine="none")
    [(_, error)] = outcome.failed
    assert "--passes with task 'review_aspects', which has several labels" in str(error)


def test_a_label_without_a_parent_is_named(tmp_path: Path) -> None:
    (tmp_path / "pool.csv").write_text("id,title,label\na,lamp,Home > Lamps\nb,chair,Chairs\n")
    (tmp_path / "test.csv").write_text("id,title,label\nc,table,Home > Tables\n")
    files = {"pool": {"file": "pool.csv"}, "test": {"file": "test.csv"}}
    given = suite({"name": "x", "task": TREE, **files}, shots=["all"])
    outcome = run_suite(given, tmp_path / "out", data=tmp_path, engine="none")
    [(_, error)] = outcome.failed
    assert isinstance(error, UnknownLabelError)
    assert "labelled with one level only: example 'b'" in str(error)


def test_the_samples_have_both() -> None:
    names = {cell.dataset.name for cell in plan(load_suite("samples"))}
    assert {"review_aspects", "product_path"} <= names
