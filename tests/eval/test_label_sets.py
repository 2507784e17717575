"""Scores of label sets equal scikit-learn's, with and without weights; undefined ones say so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from ecomfs_eval import score_label_sets
from ecomfs_eval.errors import DataError, EmptyDataError
from ecomfs_eval.metrics.label_sets import METRICS, LabelSets

from .strategies import quick

NAMES = ["a", "b", "c", "d"]
SETS = st.frozensets(st.sampled_from(NAMES))


@st.composite
def label_sets(draw: st.DrawFn) -> LabelSets:
    rows = draw(st.lists(st.tuples(SETS, st.one_of(SETS, st.none())), min_size=1, max_size=30))
    return LabelSets.of([g for g, _ in rows], [a for _, a in rows], NAMES)


def value(name: str, rows: LabelSets, weights: np.ndarray) -> float:
    return float(METRICS[name].evaluate(rows, weights[None, :])[0])


@quick
@given(label_sets(), st.integers(0, 99))
def test_f1_equals_scikit_learn(rows: LabelSets, seed: int) -> None:
    for weights in (
        np.ones(len(rows)),
        np.random.default_rng(seed).integers(0, 4, len(rows)).astype(float),
    ):
        there = weights > 0
        seen = np.flatnonzero((rows.gold | rows.given)[there].any(axis=0))
        for average in ("micro", "macro"):
            found = value(f"f1_{average}", rows, weights)
            if not seen.size:
                assert np.isnan(found)
                continue
            one = seen.size == 1  # one column is binary to scikit-learn
            expected = f1_score(
                rows.gold[:, seen[0] if one else seen].astype(int),
                rows.given[:, seen[0] if one else seen].astype(int),
                average="binary" if one else average,
                zero_division=0,
                sample_weight=weights,
            )
            assert found == pytest.approx(expected)


@quick
@given(label_sets())
def test_subset_accuracy_equals_scikit_learn_on_answered_rows(rows: LabelSets) -> None:
    answered = rows.answered
    right = 0.0
    if answered.any():
        right = accuracy_score(
            rows.gold[answered].astype(int), rows.given[answered].astype(int), normalize=False
        )
    found = value("subset_accuracy", rows, np.ones(len(rows)))
    assert found == pytest.approx(right / len(rows))


def test_rows_without_an_answer_are_wrong_and_said() -> None:
    found = score_label_sets([set(), {"a"}], [None, {"a"}])
    assert found["subset_accuracy"].value == 0.5
    assert "1 of 2 rows were not answered" in found["subset_accuracy"].note
    assert found["f1_micro"].value == 1.0


def test_no_label_anywhere_has_no_f1() -> None:
    found = score_label_sets([set(), set()], [set(), set()], labels=["a"])
    assert found["f1_micro"].value is None
    assert found["f1_macro"].reason == "no row has a label, in gold or among the answers"
    assert found["subset_accuracy"].value == 1.0


def test_intervals_hold_the_value() -> None:
    rng = np.random.default_rng(0)
    gold = [{n for n in NAMES if rng.random() < 0.4} for _ in range(80)]
    told = [{n for n in NAMES if (n in own) != (rng.random() < 0.2)} for own in gold]
    for score in score_label_sets(gold, told).values():
        assert score.interval is not None
        assert score.interval.low < score.value < score.interval.high  # type: ignore[operator]


def test_what_cannot_be_scored() -> None:
    with pytest.raises(EmptyDataError):
        score_label_sets([], [])
    with pytest.raises(DataError, match="2 rows but 1 answers"):
        score_label_sets([{"a"}, {"b"}], [{"a"}])
    with pytest.raises(DataError, match="row 0: answer 'ab' is a text"):
        score_label_sets([{"a"}], ["ab"])
    with pytest.raises(DataError, match="row 1: no label 'z'"):
        score_label_sets([{"a"}, {"z"}], [{"a"}, None], labels=["a"])
