"""Every classification metric equals scikit-learn's, with and without row weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from sklearn import metrics as sk
from strategies import predictions, quick, weights_for

from ecomfs_eval import METRICS, Predictions, confusion_matrix, get_metric
from ecomfs_eval.metrics import Undefined, per_class, precision_recall_curve, roc_curve

NONE = "~none"


def answers(p: Predictions) -> list[str]:
    pairs = zip(p.predicted, p.status, strict=True)
    return [a if s == "ok" and a is not None else NONE for a, s in pairs]


def seen(p: Predictions) -> list[str]:
    return sorted({*p.gold, *answers(p)} - {NONE})


def average(kind: str, part: Callable[..., Any]) -> Callable[..., float]:
    def oracle(p: Predictions, w: Any) -> float:
        # Labels with no weight are absent from a bootstrap draw, so they leave the average.
        kept = [i for i in range(len(p)) if w is None or w[i] > 0]
        labels = seen(p.take(kept))
        return float(
            part(
                p.gold,
                answers(p),
                labels=labels,
                average=kind,
                zero_division=0,
                sample_weight=w,
            )
        )

    return oracle


def silent(function: Callable[..., float]) -> Callable[..., float]:
    def oracle(p: Predictions, w: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(function(p.gold, answers(p), sample_weight=w))

    return oracle


ON_ANSWERS: dict[str, Callable[..., float]] = {
    "accuracy": silent(sk.accuracy_score),
    "balanced_accuracy": silent(sk.balanced_accuracy_score),
    "mcc": silent(sk.matthews_corrcoef),
    **{
        f"{name}_{kind}": average(kind, part)
        for name, part in (
            ("precision", sk.precision_score),
            ("recall", sk.recall_score),
            ("f1", sk.f1_score),
        )
        for kind in ("macro", "micro", "weighted")
    },
}


@pytest.mark.parametrize("name", ON_ANSWERS)
@quick
@given(p=predictions())
def test_point_values(name: str, p: Predictions) -> None:
    score = get_metric(name)(p)
    if score.value is None:
        assert score.reason
        assert (
            len(set(p.gold)) == 1
            or len(set(answers(p))) == 1
            or (name.startswith("precision") and not p.answered.any())
        )
    else:
        assert score.value == pytest.approx(ON_ANSWERS[name](p, None), abs=1e-12)


@pytest.mark.parametrize("name", ON_ANSWERS)
@quick
@given(p=predictions(rows=(2, 40)), seed=st.integers(0, 99))
def test_weighted_values(name: str, p: Predictions, seed: int) -> None:
    w = weights_for(p, seed)
    prepared = get_metric(name).prepare(p)
    if isinstance(prepared, Undefined) or w.sum() == 0:
        return
    value = prepared.evaluate(w[None, :])[0]
    kept = p.take(np.flatnonzero(w))
    if np.isnan(value):  # this draw leaves it undefined
        assert isinstance(get_metric(name).prepare(kept), Undefined) or not kept.answered.any()
    else:
        assert value == pytest.approx(ON_ANSWERS[name](p, w), abs=1e-9)


def positive(p: Predictions) -> list[int]:
    return [int(g == "c1") for g in p.gold]


ON_PROBABILITIES: dict[str, Callable[[Predictions, Any], float]] = {
    "roc_auc": lambda p, w: sk.roc_auc_score(positive(p), p.probabilities[:, 1], sample_weight=w),
    "pr_auc": lambda p, w: sk.average_precision_score(
        positive(p), p.probabilities[:, 1], sample_weight=w
    ),
    "brier": lambda p, w: sk.brier_score_loss(positive(p), p.probabilities[:, 1], sample_weight=w),
    "log_loss": lambda p, w: sk.log_loss(p.gold, p.probabilities, labels=p.labels, sample_weight=w),
}


@pytest.mark.parametrize("name", ON_PROBABILITIES)
@quick
@given(p=predictions(labels=2, rows=(2, 40)), seed=st.integers(0, 99))
def test_binary_probability_metrics(name: str, p: Predictions, seed: int) -> None:
    if len(set(p.gold)) < 2:
        if "auc" in name:
            assert get_metric(name)(p).value is None
        return
    assert get_metric(name)(p).value == pytest.approx(ON_PROBABILITIES[name](p, None), abs=1e-12)
    w = weights_for(p, seed)
    if len({g for g, x in zip(p.gold, w, strict=True) if x}) == 2:
        prepared = get_metric(name).prepare(p)
        assert not isinstance(prepared, Undefined)
        assert prepared.evaluate(w[None, :])[0] == pytest.approx(
            ON_PROBABILITIES[name](p, w), abs=1e-9
        )


@quick
@given(p=predictions(labels=4, rows=(8, 40)))
def test_several_classes(p: Predictions) -> None:
    assert p.probabilities is not None
    table = p.probabilities
    assert METRICS["log_loss"](p).value == pytest.approx(
        sk.log_loss(p.gold, table, labels=p.labels), abs=1e-12
    )
    assert METRICS["brier"](p).value == pytest.approx(
        sk.brier_score_loss(p.gold, table, labels=list(p.labels)), abs=1e-12
    )
    present = sorted(set(p.gold))
    for name, part in (("roc_auc", sk.roc_auc_score), ("pr_auc", sk.average_precision_score)):
        score = METRICS[name](p)
        if len(present) < 2:
            assert score.value is None
            continue
        each = [part([int(g == c) for g in p.gold], table[:, p.labels.index(c)]) for c in present]
        assert score.value == pytest.approx(np.mean(each), abs=1e-12)
        assert ("not in gold" in score.note) == (len(present) < 4)


@quick
@given(p=predictions(labels=2, rows=(2, 40)))
def test_curves(p: Predictions) -> None:
    assert p.probabilities is not None
    mine = roc_curve(p)
    if len(set(p.gold)) < 2:
        assert isinstance(mine, Undefined)
        return
    assert not isinstance(mine, Undefined)
    fpr, tpr, thresholds = sk.roc_curve(positive(p), p.probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(mine.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(mine.tpr, tpr, atol=1e-12)
    np.testing.assert_allclose(mine.thresholds, thresholds)
    pr = precision_recall_curve(p)
    assert not isinstance(pr, Undefined)
    precision, recall, cuts = sk.precision_recall_curve(positive(p), p.probabilities[:, 1])
    np.testing.assert_allclose(pr.precision[::-1], precision[:-1], atol=1e-12)
    np.testing.assert_allclose(pr.recall[::-1], recall[:-1], atol=1e-12)
    np.testing.assert_allclose(pr.thresholds[::-1], cuts)


@quick
@given(p=predictions())
def test_confusion_matrix(p: Predictions) -> None:
    mine = confusion_matrix(p)
    theirs = sk.confusion_matrix(p.gold, answers(p), labels=[*p.labels, NONE])
    np.testing.assert_array_equal(mine.counts, theirs[:-1])


@quick
@given(p=predictions())
def test_per_class(p: Predictions) -> None:
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        p.gold, answers(p), labels=list(p.labels), zero_division=np.nan
    )
    for i, c in enumerate(per_class(p)):
        assert c.support == support[i]
        for score, theirs in ((c.precision, precision[i]), (c.recall, recall[i]), (c.f1, f1[i])):
            if np.isnan(theirs):
                assert score.value is None
                assert score.reason
            else:
                assert score.value == pytest.approx(theirs, abs=1e-12)
