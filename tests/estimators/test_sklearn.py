"""The classifiers in scikit-learn: every kind of label, scorers, searches, ensembles."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scripted import ScriptedEngine

pytest.importorskip("sklearn")

from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from ecomfs.engine import shared
from ecomfs.errors import ArgumentError, ConfigError, EngineUnavailableError, InputError, RowError
from ecomfs.estimators import FewShotClassifier
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.estimators.taxonomy import TaxonomyClassifier
from ecomfs.pool import Pool
from ecomfs.types import Example

TEXTS = [f"review {i}: it {'broke at once' if i % 3 else 'works very well'}" for i in range(18)]
GOOD = [i % 3 == 0 for i in range(18)]
# What a label is called, by its type: the one that is true of GOOD is the greater one.
KINDS: dict[str, tuple[Any, Any]] = {
    "int": (0, 1),
    "bool": (False, True),
    "float": (0.0, 1.0),
    "str": ("negative", "positive"),
}
DTYPES = {"int": "i", "bool": "b", "float": "f", "str": "U"}
OPTIONS: dict[str, Any] = {"k": 2, "embedder": "hashed", "language": "en", "calibration_size": 0}
ROWS = np.array(TEXTS, dtype=object)


def new(task: str = "review_sentiment", engine: Any = None, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(task, engine or ScriptedEngine(), **(OPTIONS | options))


def labels(kind: str) -> Any:
    low, high = KINDS[kind]
    return np.array([high if good else low for good in GOOD])


def by_hand(metric: Any, y: Any) -> list[float]:
    out = []
    for train, test in StratifiedKFold(3).split(ROWS, y):
        clf = new().fit(ROWS[train], y[train])
        p = clf.predict_proba(ROWS[test])
        out.append(metric(y[test], p, clf.classes_))
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_scorers_say_what_the_probabilities_say(kind: str) -> None:
    y = labels(kind)
    high = KINDS[kind][1]
    by = {
        "accuracy": lambda t, p, c: accuracy_score(t, c[p.argmax(axis=1)]),
        "neg_log_loss": lambda t, p, c: -log_loss(t == high, p[:, 1]),
        "roc_auc": lambda t, p, c: roc_auc_score(t == high, p[:, 1]),
        "f1_macro": lambda t, p, c: f1_score(t, c[p.argmax(axis=1)], average="macro"),
    }
    if kind != "str":  # of texts, f1 does not know which is the positive one
        by["f1"] = lambda t, p, c: f1_score(t == high, c[p.argmax(axis=1)] == high)
    for scoring, metric in by.items():
        found = cross_val_score(new(), ROWS, y, cv=3, scoring=scoring)
        assert found == pytest.approx(by_hand(metric, y)), scoring
    assert cross_val_score(new(), ROWS, y, cv=3) == pytest.approx(by_hand(by["accuracy"], y))


@pytest.mark.parametrize("kind", KINDS)
def test_ensembles_searches_and_pipelines_take_every_kind_of_label(kind: str) -> None:
    y = labels(kind)
    alone = new().fit(ROWS, y)
    assert alone.predict(ROWS).dtype.kind == alone.classes_.dtype.kind == DTYPES[kind]
    assert alone.score(ROWS, y) == accuracy_score(y, alone.predict(ROWS))
    p = alone.predict_proba(ROWS)
    piped = Pipeline([("same", FunctionTransformer()), ("read", new())]).fit(ROWS, y)
    assert piped.predict(ROWS).tolist() == alone.predict(ROWS).tolist()
    search = GridSearchCV(new(), {"k": [0, 2]}, cv=2, scoring="neg_log_loss").fit(ROWS, y)
    assert search.predict_proba(ROWS).shape == p.shape
    for made in (
        VotingClassifier([("a", new()), ("b", new())], voting="soft"),
        VotingClassifier([("a", new()), ("b", new())], voting="hard"),
        StackingClassifier([("a", new())], LogisticRegression(), cv=2),
        CalibratedClassifierCV(new(), cv=2),
    ):
        made.fit(ROWS, y)
        assert made.classes_.tolist() == alone.classes_.tolist()
        found = made.predict(ROWS)
        assert found.dtype.kind == DTYPES[kind]
        assert 0 <= accuracy_score(y, found) <= 1


def test_a_vote_of_equal_ones_is_each_of_them() -> None:
    y = labels("bool")
    voting = VotingClassifier([("a", new()), ("b", new())], voting="soft").fit(ROWS, y)
    # The ensemble numbers the labels; numbers that are not the caller's have no aliases.
    one = voting.estimators_[0]
    assert one.meanings_ == {0: "0", 1: "1"}
    np.testing.assert_allclose(voting.predict_proba(ROWS), one.predict_proba(ROWS))
    named = VotingClassifier([("a", new(label_names=["negative", "positive"]))], voting="soft")
    alone = new().fit(ROWS, labels("str"))
    assert np.allclose(named.fit(ROWS, y).predict_proba(ROWS), alone.predict_proba(ROWS))


def test_columns_are_in_the_order_of_numbers_not_of_their_texts() -> None:
    y = [i % 10 + 1 for i in range(40)]
    rows = [f"number {n}" for n in range(40)]
    clf = new("product_category").fit(rows, y)
    assert clf.classes_.tolist() == list(range(1, 11))
    p = clf.predict_proba(rows)
    assert [p[i, v - 1] for i, v in enumerate(clf.predict(rows))] == p.max(axis=1).tolist()
    right = [p[row, label - 1] for row, label in enumerate(y)]
    assert log_loss(y, p, labels=clf.classes_) == pytest.approx(-np.log(right).mean())


VISITS = pd.DataFrame(
    {
        "product_pages": [1 + i % 5 for i in range(18)],
        "minutes_on_site": [float(i) for i in range(18)],
        "page_value": [float(i % 3 == 0) * 9 for i in range(18)],
    }
)


@pytest.mark.parametrize(
    ("task", "rows", "names"),
    [
        ("purchase_intent", VISITS, ("leave", "buy")),
        ("review_sentiment", ROWS, ("负面", "正面")),
    ],
)
def test_an_alias_never_turns_the_numbers_of_a_meta_estimator_round(
    task: str, rows: Any, names: tuple[str, str]
) -> None:
    # Alphabetically buy is 0 and 正面 is 0, where the card's aliases say that they are 1.
    y = np.array([names[good] for good in GOOD])
    clf = new(task)
    found = cross_val_predict(clf, rows, y, cv=3, method="predict_proba")
    plain, turned = np.empty_like(found), np.empty_like(found)
    place = (y == max(names)).astype(int)
    for train, test in StratifiedKFold(3).split(rows, y):
        part = rows.iloc if hasattr(rows, "iloc") else rows
        plain[test] = (
            new(task, label_names=sorted(names))
            .fit(part[train], place[train])
            .predict_proba(part[test])
        )
        turned[test] = (
            new(task, label_names=sorted(names)[::-1])
            .fit(part[train], place[train])
            .predict_proba(part[test])
        )
    assert not np.allclose(found, turned)
    named = clone(clf).set_params(label_names=sorted(names))
    again = cross_val_predict(named, rows, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(again, plain)


def test_integer_labels_are_mapped_by_alias_and_shown_in_meanings() -> None:
    y = np.array([int(good) for good in GOOD])
    clf = new("purchase_intent").fit(VISITS, y)
    assert clf.meanings_ == {0: "leave", 1: "buy"}
    words = new("purchase_intent").fit(VISITS, [("leave", "buy")[v] for v in y])
    turn = [list(words.classes_).index(name) for name in ("leave", "buy")]
    np.testing.assert_allclose(clf.predict_proba(VISITS), words.predict_proba(VISITS)[:, turn])
    # What only hands labels on does not number them.
    search = GridSearchCV(new("purchase_intent"), {"k": [2]}, cv=2).fit(VISITS, y)
    assert search.best_estimator_.meanings_ == {0: "leave", 1: "buy"}


@pytest.mark.parametrize(
    ("names", "kind", "why"),
    [
        ({0: "leave"}, InputError, "does not say what the label 1 means"),
        ({0: "buy", 1: "buy"}, ConfigError, "two labels are called 'buy'"),
        ({0: "leave", 1: "perhaps"}, InputError, "unknown label 'perhaps'"),
    ],
)
def test_names_that_contradict_are_refused(names: Any, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        new("purchase_intent", label_names=names).fit(VISITS, [int(g) for g in GOOD])


def test_numbers_have_no_room_for_a_row_without_a_label() -> None:
    engine = ScriptedEngine(fails_on="Review: poison")
    clf = new(engine=engine).fit(TEXTS, labels("int"))
    with pytest.raises(
        RowError, match=r"2 of 3 rows have no label \(rows 1, 2; the first: no answer"
    ):
        clf.predict(["fine", "poison", " "])
    assert clf.predict(["fine"]).dtype == np.int64
    assert np.isnan(clf.predict_proba(["fine", "poison"])[1]).all()
    assert clf.score(["fine", "poison"], [*clf.predict(["fine"]), 1]) == 0.5
    words = new(engine=engine).fit(TEXTS, labels("str")).predict(["fine", "poison"])
    assert words.dtype == object
    assert words[1] is None


def test_no_answer_before_fit_in_scikit_learns_own_words() -> None:
    for clf in (new(), MultiLabelClassifier(), TaxonomyClassifier()):
        assert isinstance(clf, ClassifierMixin)
        assert isinstance(clf, BaseEstimator)
        with pytest.raises(NotFittedError) as caught:
            clf.predict(["x"])
        assert isinstance(caught.value, ConfigError)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), ConfigError)
        assert not hasattr(clf, "engine_")
        with pytest.raises(NotFittedError):
            check_is_fitted(clf)


def test_weights_of_examples_are_refused_in_fit_and_count_in_score() -> None:
    for clf in (new(), MultiLabelClassifier(), TaxonomyClassifier()):
        with pytest.raises(ArgumentError, match=r"'sample_weight' .examples have no weights"):
            clf.fit(TEXTS, labels("int"), sample_weight=np.ones(18))
        with pytest.raises(TypeError, match=r"'weights' .leave it out"):
            clf.fit(TEXTS, labels("int"), weights=1)
    with pytest.raises(TypeError, match="does not support sample weights"):
        VotingClassifier([("a", new())]).fit(ROWS, labels("int"), sample_weight=np.ones(18))
    fitted = new().fit(TEXTS, labels("int"))
    right = fitted.predict(TEXTS) == labels("int")
    weight = np.arange(18)
    found = fitted.score(TEXTS, labels("int"), sample_weight=weight)
    assert found == pytest.approx(np.average(right, weights=weight))


def test_features_of_tables_are_reported() -> None:
    frame = pd.DataFrame({"text": TEXTS, "shop": 1})
    clf = new().fit(frame, labels("int"))
    assert clf.feature_names_in_.tolist() == ["text", "shop"]
    assert clf.n_features_in_ == 2
    assert not hasattr(clf.fit(TEXTS, labels("int")), "n_features_in_")
    html = clf._repr_html_()
    assert "FewShotClassifier" in html


def fitted(kind: Any, engine: Any) -> Any:
    options = {**OPTIONS, "calibration_size": 8}
    if kind is FewShotClassifier:
        return new(engine=engine, calibration_size=8).fit(TEXTS, labels("int"))
    if kind is MultiLabelClassifier:
        sets = [{"late", "new"} if g else {"new"} if i % 2 else set() for i, g in enumerate(GOOD)]
        return kind("customer_intent", engine, **options).fit(TEXTS, sets)
    paths = [f"{'Home' if g else 'Food'} > {'ab'[i % 2]}" for i, g in enumerate(GOOD)]
    return kind("product_category", engine, **options).fit(TEXTS, paths)


@pytest.mark.parametrize("kind", [FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier])
def test_an_open_engine_is_shared_by_copies_and_left_behind_by_pickles(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine()
    clf = fitted(kind, engine)
    expected = clf.predict_proba(TEXTS)
    assert clone(clf).engine is engine
    assert not hasattr(clone(clf), "classes_")
    for twin in (copy.copy(clf), copy.deepcopy(clf)):
        assert twin.engine is twin.engine_ is engine
        np.testing.assert_array_equal(twin.predict_proba(TEXTS), expected)
    stored = pickle.dumps(clf)
    alone = pickle.loads(stored)
    assert alone.classes_.tolist() == clf.classes_.tolist()
    check_is_fitted(alone)
    with pytest.raises(
        EngineUnavailableError, match=r"'scripted' cannot be opened in this process"
    ):
        alone.predict(TEXTS)
    alone.set_params(engine=engine)
    np.testing.assert_array_equal(alone.predict_proba(TEXTS), expected)
    # An engine that can be opened by its name is, once, at the first use.
    opened: list[str] = []
    monkeypatch.setattr(shared, "open_engine", lambda spec: opened.append(spec) or ScriptedEngine())
    # The stand-in for a model would not pass the canary.
    monkeypatch.setattr(shared, "_checked", lambda engine: ())
    monkeypatch.setenv("ECOMFS_READING_CACHE", "off")
    shared.close_shared()
    again = pickle.loads(stored)
    assert not opened
    np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    assert opened == ["scripted"]
    shared.close_shared()


def test_a_pickle_fitted_with_another_engine_is_refused() -> None:
    clf = pickle.loads(pickle.dumps(fitted(FewShotClassifier, ScriptedEngine())))
    other = ScriptedEngine()
    other.fingerprint = "scripted-2"
    with pytest.raises(ConfigError, match=r"fitted with the engine scripted-1, .* is scripted-2"):
        clf.set_params(engine=other).predict(TEXTS)


def test_a_pickle_holds_the_pool_with_all_its_versions() -> None:
    clf = fitted(FewShotClassifier, ScriptedEngine())
    clf.pool_.retire(["3"])
    expected = clf.predict_proba(TEXTS)
    again = pickle.loads(pickle.dumps(clf)).set_params(engine=clf.engine)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    assert again.pool_.version == clf.pool_.version == 2
    again.pool_.retire(["4"])
    assert (again.pool_.version, clf.pool_.version) == (3, 2)


def test_a_frame_an_iterator_and_a_list_give_the_same_labels() -> None:
    y = [int(good) for good in GOOD]
    frame = pd.DataFrame({"text": TEXTS, "label": y})
    expected = new().fit(TEXTS, y)
    for clf in (
        new().fit(frame),
        new().fit(frame.astype({"label": "Int64"})),
        new().fit(TEXTS, (label for label in y)),
        new().fit(iter(TEXTS), iter(y)),
        new().fit(frame[["text"]].to_numpy(), frame[["label"]].to_numpy()),
    ):
        assert clf.classes_.dtype == np.int64
        assert clf.predict(TEXTS).tolist() == expected.predict(TEXTS).tolist()
        assert clf.score(TEXTS, y) == expected.score(TEXTS, [float(v) for v in y])
    gap = pd.DataFrame({"text": [*TEXTS, "?"], "label": [*y, None]})
    with pytest.raises(InputError, match=r"example 18 .* has no label"):
        new().fit(gap)
    clf = new().fit(gap.dropna())
    assert clf.classes_.tolist() == [0.0, 1.0]
    assert clf.meanings_ == {0.0: "negative", 1.0: "positive"}


@pytest.mark.parametrize("kind", ["int", "bool", "float"])
def test_the_truth_in_a_frame_is_read_as_labels_are(kind: str) -> None:
    y = labels(kind)
    frame = pd.DataFrame({"text": TEXTS, "label": y})
    clf = new().fit(frame)
    for gold in (y, pd.Series(y).astype(object), pd.Series(y, dtype="category")):
        table = frame.assign(truth=gold).ecomfs.evaluate("truth", clf)
        one = table[(table["system"] == "LLM") & (table["metric"] == "accuracy")].iloc[0]
        assert one["n"] == 18
        assert one["value"] == pytest.approx(clf.score(TEXTS, y))
    told = frame.ecomfs.classify(clf)
    assert told["predicted"].to_list() == clf.predict(TEXTS).tolist()


def test_labels_in_sets_keep_their_type_and_a_matrix_names_none() -> None:
    sets = [{1, 2} if good else {2} if i % 2 else {10} for i, good in enumerate(GOOD)]
    clf = MultiLabelClassifier("customer_intent", ScriptedEngine(), **OPTIONS).fit(TEXTS, sets)
    assert clf.classes_.tolist() == [1, 2, 10]
    found = clf.predict(TEXTS)
    assert {type(label) for own in found for label in own} <= {int}
    assert clf.score(TEXTS, [{float(label) for label in own} for own in found]) == 1.0
    matrix = np.array([[1, 0, 1], [0, 1, 1]] * 9)
    for y in (matrix, matrix.tolist(), pd.DataFrame(matrix)):
        with pytest.raises(InputError, match="not one set of labels per row"):
            clone(clf).fit(TEXTS, y)


@pytest.mark.model
def test_two_processes_of_joblib_answer_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib")
    monkeypatch.setenv("ECOMFS_READING_CACHE", "off")
    clf = new(engine="gguf:smollm2", calibration_size=4).fit(TEXTS, labels("int"))
    parts = [TEXTS[:4], TEXTS[4:8]]
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(clf.predict_proba)(p) for p in parts)
    for part, probabilities in zip(parts, found, strict=True):
        np.testing.assert_array_equal(probabilities, clf.predict_proba(part))
    shared.close_shared()


@pytest.mark.parametrize("kind", [FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier])
@pytest.mark.parametrize("given", ["a pool", "Example objects"])
def test_labels_beside_examples_that_have_their_own_are_refused(kind: Any, given: str) -> None:
    names = labels("str")
    found = [Example(str(i), {"text": t}, names[i]) for i, t in enumerate(TEXTS)]
    X = Pool.in_memory(found) if given == "a pool" else found  # noqa: N806
    with pytest.raises(InputError, match=f"y was given together with {given}"):
        kind("product_category", ScriptedEngine(), embedder="hashed").fit(X, names)


@pytest.mark.parametrize("pair", [(1, "1"), (True, 1), (0, False), ("true", True), (2.0, "2")])
def test_labels_of_two_types_that_would_be_one_are_refused(pair: tuple[Any, Any]) -> None:
    y = [pair[good] for good in GOOD]
    y[0] = "third"
    with pytest.raises(InputError, match="give all labels in one type"):
        new("product_category").fit(TEXTS, y)


def test_floats_of_32_bits_are_labels_that_match_their_digits() -> None:
    y = np.array([0.1 if good else 0.2 for good in GOOD], dtype=np.float32)
    clf = new("product_category").fit(TEXTS, y)
    assert list(clf.meanings_.values()) == ["0.1", "0.2"]
    assert clf.classes_.dtype == clf.predict(TEXTS).dtype == np.float32
    series = new("product_category").fit(pd.DataFrame({"title": TEXTS, "label": y}))
    assert list(series.meanings_.values()) == ["0.1", "0.2"]
    right = float(np.mean(clf.predict(TEXTS) == y))
    assert right > 0
    for truth in (y, pd.Series(y), [0.1 if good else 0.2 for good in GOOD]):
        assert clf.score(TEXTS, truth) == right


@pytest.mark.parametrize(
    "kind", [FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier], ids=lambda c: c.__name__
)
def test_options_are_named(kind: type) -> None:
    parameters = inspect.signature(kind).parameters.values()
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_place == ["task", "engine"]
