"""Metrics of label sets equal scikit-learn's, those of hierarchies their definitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import metrics as sk
from sklearn.preprocessing import MultiLabelBinarizer

from ecomfs_eval import METRICS, Bootstrap, Predictions, compare, get_metric, per_class, scores
from ecomfs_eval.errors import OptionError, RowsDifferError
from ecomfs_eval.manifest import read_results, write_results
from ecomfs_eval.metrics import USUAL
from ecomfs_eval.report import build_report, render_html, render_markdown
from ecomfs_eval.structure import LabelStructure

CLASSES = ["broken", "late", "rude", "unseen"]
QUICK = Bootstrap(resamples=100)


def cell(labels: list[str]) -> str:
    return "|".join(labels) or "[]"


def random_sets(seed: int, n: int = 40, name: str = "A") -> Predictions:
    rng = np.random.default_rng(seed)
    gold = [[c for c in CLASSES[:3] if rng.random() < 0.4] for _ in range(n)]
    given = [[c for c in CLASSES[:3] if (c in own) != (rng.random() < 0.25)] for own in gold]
    cells = {cell(own): own for own in (*gold, *given)}
    answers = [None if rng.random() < 0.1 else cell(own) for own in given]
    structure = LabelStructure.sets(cells, CLASSES)
    return Predictions.of([cell(own) for own in gold], answers, structure=structure, name=name)


def tables(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    assert p.structure is not None
    table = MultiLabelBinarizer(classes=list(p.classes))
    given = [p.structure.parts[a] if a is not None else () for a in p.predicted]
    return table.fit_transform([p.structure.parts[g] for g in p.gold]), table.transform(given)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_sets_are_those_of_scikit_learn(seed: int) -> None:
    p = random_sets(seed)
    y, z = tables(p)
    for average in ("micro", "macro"):
        seen = np.flatnonzero(y.any(axis=0) | z.any(axis=0))
        wanted = sk.f1_score(y[:, seen], z[:, seen], average=average, zero_division=0)
        assert METRICS[f"f1_{average}"](p).value == pytest.approx(wanted)
    assert METRICS["hamming_loss"](p).value == pytest.approx(sk.hamming_loss(y, z))
    # A row without an answer is not right, also where it has none of the labels.
    answered = np.array([a is not None for a in p.predicted])
    right = (y == z).all(axis=1) & answered
    assert METRICS["subset_accuracy"](p).value == pytest.approx(right.mean())
    assert METRICS["accuracy"](p).value == METRICS["subset_accuracy"](p).value
    union = (y | z).sum(axis=1)
    each = np.where(union > 0, (y & z).sum(axis=1) / np.maximum(union, 1), answered)
    assert METRICS["jaccard"](p).value == pytest.approx(each.mean())
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, z, zero_division=0)
    for i, found in enumerate(per_class(p)):
        assert (found.label, found.support) == (p.classes[i], support[i])
        for value, score in ((precision[i], found.precision), (recall[i], found.recall)):
            assert (score.value or 0.0) == pytest.approx(value)
        assert (found.f1.value or 0.0) == pytest.approx(f1[i])


def test_metrics_without_a_meaning_for_sets_are_undefined_with_a_reason() -> None:
    p = random_sets(0)
    for name in ("roc_auc", "log_loss", "ece", "mcc", "balanced_accuracy", "level_accuracy@1"):
        assert METRICS[name](p).reason == "not defined where a row has several labels"
    flat = Predictions.of(["a", "b"], ["a", "b"])
    for name in ("jaccard", "subset_accuracy", "hamming_loss", "f1_hierarchical"):
        assert "not defined" in METRICS[name](flat).reason
    with pytest.raises(OptionError, match="counted from 1"):
        get_metric("level_accuracy@0")


GOLD = ["Home > Lamps", "Home > Chairs", "Toys > Games", "Toys > Games", "Food > Tea > Green"]
GIVEN = ["Home > Chairs", "Home > Chairs", "Home > Lamps", None, "Food > Tea > Black"]


def tree(given: list[str | None], name: str = "A") -> Predictions:
    structure = LabelStructure.tree([*GOLD, *(g for g in given if g)], " > ")
    return Predictions.of(GOLD, given, structure=structure, name=name)


def test_metrics_of_hierarchies_by_hand() -> None:
    p = tree(GIVEN)
    assert METRICS["accuracy"](p).value == pytest.approx(1 / 5)
    assert METRICS["level_accuracy@1"](p).value == pytest.approx(3 / 5)
    # "Home > Chairs" is right as a whole; "Food > Tea" is right down to its second level.
    assert get_metric("level_accuracy@2")(p).value == pytest.approx(2 / 5)
    assert get_metric("level_accuracy@3")(p).value == pytest.approx(1 / 5)
    shared, truth, given = 1 + 2 + 0 + 0 + 2, 2 + 2 + 2 + 2 + 3, 2 + 2 + 2 + 0 + 3
    assert METRICS["f1_hierarchical"](p).value == pytest.approx(2 * shared / (truth + given))
    assert METRICS["log_loss"](p).reason == "no row has probabilities"
    assert METRICS["jaccard"](p).reason == "not defined where a row has one label"


@pytest.mark.parametrize("kind", ["sets", "hierarchy"])
def test_comparisons_and_reports_know_them(kind: str, tmp_path: Path) -> None:
    if kind == "sets":
        a = random_sets(1)
        b = replace(a, predicted=a.gold, status=("ok",) * len(a), name="B")
    else:
        a, b = tree(GIVEN), tree(list(GOLD), "B")
    own = "jaccard" if kind == "sets" else "f1_hierarchical"
    found = compare(a, b, how=QUICK)
    assert {d.metric for d in found.differences} >= {"accuracy", own}
    assert found["accuracy"].delta == pytest.approx(1 - METRICS["accuracy"](a).value)
    report = build_report([b, a], comparisons=found, how=QUICK)
    for text in (render_html(report), render_markdown(report)):
        assert get_metric(own).title in text
        assert "ROC AUC" not in text or kind == "hierarchy"
    system = report.to_dict()["systems"][0]
    assert system["scores"][own]["value"] == 1
    assert [row["label"] for row in system["classes"]] == list(b.classes)
    write_results(tmp_path, [a, b])
    again = read_results(tmp_path).systems[0]
    assert (again.structure, again.kind) == (a.structure, a.kind)
    wanted = {name: get_metric(name) for name in USUAL[a.kind]}
    assert scores(wanted, again, QUICK) == scores(wanted, a, QUICK)


def test_systems_of_two_kinds_are_not_compared() -> None:
    a = random_sets(1)
    flat = Predictions.of(a.gold, a.predicted, name="B")
    with pytest.raises(RowsDifferError, match="labels of A are of kind sets, those of B"):
        compare(a, flat, how=QUICK)
    assert a.structure is not None
    parts = dict.fromkeys(a.structure.parts, ("late",))
    other = replace(a, structure=LabelStructure("sets", parts, tuple(CLASSES)), name="B")
    with pytest.raises(RowsDifferError, match="has different parts"):
        compare(a, other, how=QUICK)
