"""The engine none: what is fitted without a model, and which profiles can be used without one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pools import ROWS, reviews
from scripted import ScriptedEngine

from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier
from ecomfs.fit import Profile
from ecomfs.pool import Pool
from ecomfs.types import Example, Status

TRUTH = ["positive", "negative", "positive"]


def alone(**options: Any) -> FewShotClassifier:
    given = {"engine": None, "embedder": "hashed", "language": "en", **options}
    return FewShotClassifier("review_sentiment", **given)


def with_model(path: Path, **options: Any) -> Profile:
    clf = alone(engine=ScriptedEngine(), **options).fit(reviews())
    assert clf.profile_ is not None
    clf.profile_.save(path)
    return clf.profile_


@pytest.mark.parametrize("engine", [None, "none"])
def test_the_experts_answer_alone(engine: str | None) -> None:
    clf = alone(engine=engine).fit(reviews())
    assert clf.predict(ROWS).tolist() == TRUTH
    for prediction in clf.classify(ROWS):
        assert prediction.source == "experts"
        assert prediction.stages["experts"] == tuple(prediction.probabilities.values())
        assert prediction.template is None
        assert (prediction.prompt_tokens, prediction.engine) == (0, "none")
    assert clf.profile_ is not None
    assert clf.profile_.found["readings"] == 40
    assert set(clf.profile_.found["loss"]) == {"experts"}


def test_the_experts_answer_the_same_with_and_without_a_model() -> None:
    rows = [e.fields["text"] for e in reviews(12, seed=1)]
    beside = alone(engine=ScriptedEngine()).fit(reviews()).classify(rows)
    found = alone().fit(reviews()).classify(rows)
    assert [p.stages["experts"] for p in beside] == [p.stages["experts"] for p in found]


def test_explain_shows_the_nearest_examples() -> None:
    clf = alone().fit(reviews())
    found = clf.explain(ROWS[0], influence=True)
    assert "nearest examples (8; the model was not asked)" in str(found)
    shown = found.to_dict()
    assert len(shown["nearest_examples"]) == 8
    assert shown["nearest_examples"][0]["label"] == "positive"
    assert shown["prompt"] is None
    assert shown["influence"]["note"] == "the model was not asked"


def test_a_changed_label_counts_at_once_and_a_pickle_answers_the_same() -> None:
    rows = [Example("a", {"text": "soft hat"}, "positive"), *reviews(10)]
    with Pool.in_memory(rows) as pool:
        clf = alone().fit(pool)
        before = clf.predict_proba(["soft hat"])
        assert (pickle.loads(pickle.dumps(clf)).predict_proba(["soft hat"]) == before).all()
        pool.relabel("a", "negative")
        column = clf.classes_.tolist().index("negative")
        assert clf.predict_proba(["soft hat"])[0, column] > before[0, column]


def test_guarantees_are_fitted_on_the_experts_answers() -> None:
    clf = alone(precision=0.8, coverage=0.9, novel_below=0.05).fit(reviews(120))
    found = clf.classify([*ROWS, "quantum flux capacitor", ""])
    assert [p.label for p in found[:3]] == TRUTH
    assert all(p.prediction_set for p in found[:4])
    assert found[0].novelty is not None
    assert found[-1].status is Status.FAILED
    with pytest.raises(ConfigError, match="--max-loss has no effect without a model"):
        alone(max_loss=0.1).fit(reviews())
    with pytest.raises(ConfigError, match="no experts"):
        alone(fusion=False).fit(reviews())


def test_without_examples_there_is_nothing_to_answer() -> None:
    with pytest.raises(ConfigError, match="no labelled examples: rows cannot be classified"):
        alone().fit([])


def test_profiles_hold_where_they_were_fitted(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    profile = with_model(path)
    assert profile.found["engine"] == "scripted"
    assert profile.found["rate"] > 0
    own = alone().fit(reviews())
    # The experts' weights need no model: they are the same from its profile.
    given = alone(profile=path).fit(reviews())
    assert (given.predict_proba(ROWS) == own.predict_proba(ROWS)).all()
    assert own.profile_ is not None
    own.profile_.save(path)
    again = alone(profile=path).fit(reviews())
    assert (again.predict_proba(ROWS) == own.predict_proba(ROWS)).all()
    with pytest.raises(ConfigError, match="fitted without a model"):
        alone(engine=ScriptedEngine(), profile=path).fit(reviews())
    with_model(path, fusion=False)
    with pytest.raises(ConfigError, match="without the experts"):
        alone(profile=path).fit(reviews())
    with_model(path, coverage=0.9)
    with pytest.raises(ConfigError, match=r"guarantees coverage = 0\.9 for answers with the model"):
        alone(profile=path).fit(reviews())


def test_a_taxonomy_and_several_labels_need_no_model() -> None:
    titles = ["Phone with two cameras", "Zoom camera", "Brass desk lamp"]
    labels = ["Electronics > Phones", "Electronics > Cameras", "Home > Lamps"]
    clf = TaxonomyClassifier(engine=None, embedder="hashed").fit(titles, labels)
    assert clf.predict(["brass lamp"]).tolist() == ["Home > Lamps"]
    texts = ["late and rude", "late again", "rude on the phone", "all fine"]
    sets = [["delivery", "service"], ["delivery"], ["service"], []]
    several = MultiLabelClassifier(engine="none", embedder="hashed").fit(texts, sets)
    [late] = several.predict_proba(["late again"])
    shares = dict(zip(several.classes_, late, strict=True))
    assert shares["delivery"] > shares["service"]
