"""Many labels: the prompt has a shortlist, and no label becomes impossible."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from intents import LABELS, messages
from scripted import ScriptedEngine

from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.types import Example


def classifier(**options: Any) -> FewShotClassifier:
    return FewShotClassifier(
        "customer_intent", ScriptedEngine(), embedder="hashed", language="en", **options
    )


def test_only_a_shortlist_is_put_to_the_model() -> None:
    clf = classifier(calibration_size=0, layout="retrieved").fit(messages())
    found = clf.explain("hello how do I cancel my parcel")
    assert found.state.prompt is not None
    listed = [label for label in LABELS if f"- {label}" in found.state.prompt.text]
    assert len(listed) == 8
    assert "cancel parcel" in listed
    assert {d.example.label for d in found.state.demonstrations} <= set(listed)
    assert set(found.prediction.probabilities) == set(LABELS)
    assert sum(found.prediction.probabilities.values()) == pytest.approx(1)
    off = [p for label, p in found.prediction.probabilities.items() if label not in listed]
    assert min(off) > 0
    assert sum(off) == pytest.approx(1 - clf.pipeline_.label_shortlist.recall)  # type: ignore[union-attr]


def test_every_row_has_its_own_list_and_one_list_serves_all_alike() -> None:
    clf = classifier(calibration_size=0).fit(messages())
    engine: Any = clf.engine_
    rows = ["track order", "pay for invoice", "track order"]
    found = clf.classify(rows)
    assert sorted(engine.calls) == [1, 2]
    assert found[0].probabilities == found[2].probabilities != found[1].probabilities


def test_the_recall_is_measured_on_the_pool() -> None:
    pipeline = classifier(calibration_size=0).fit(messages()).pipeline_
    assert pipeline.label_shortlist is not None
    assert 0.5 < pipeline.label_shortlist.recall < 1
    # Labels drawn by lot cannot be found again.
    rng = random.Random(1)
    noise = [Example(e.id, e.fields, rng.choice(LABELS)) for e in messages()]
    blind = classifier(calibration_size=0).fit(noise).pipeline_
    assert blind.label_shortlist is not None
    assert blind.label_shortlist.recall < 0.5


def test_one_example_per_label_gives_no_recall_estimate() -> None:
    """When the only example of a label is left out, no shortlist can have the label; that is not a
    recall of 0.
    """
    clf = classifier(calibration_size=0, fusion=False).fit(messages(each=1))
    label_shortlist = clf.pipeline_.label_shortlist
    assert label_shortlist is not None
    assert label_shortlist.recall == 0.5
    found = clf.explain("hello how do I cancel my parcel")
    listed = [clf.pipeline_.space.names[i] for i in found.state.shortlist]
    assert found.prediction.label in listed


def test_few_labels_and_zero_put_all_to_the_model() -> None:
    few = [e for e in messages() if e.label in LABELS[:6]]
    assert classifier(calibration_size=0).fit(few).pipeline_.label_shortlist is None
    clf = classifier(calibration_size=0, shortlist=0).fit(messages())
    assert clf.pipeline_.label_shortlist is None
    assert len(clf.classify(["track order"])[0].demonstration_ids) == 8


def test_a_shortlist_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="a shortlist of 1 label"):
        classifier(shortlist=1).fit(messages())


def test_calibration_and_fusion_work_on_shortlists() -> None:
    clf = classifier(calibration_size=40, cascade=False).fit(messages(each=6))
    found = clf.classify(["how do I cancel parcel please", "now track refund"])
    for prediction in found:
        assert list(prediction.stages) == ["read", "calibrated", "experts", "fused"]
        for stage in prediction.stages.values():
            assert sum(stage) == pytest.approx(1)
    assert [p.label for p in found] == ["cancel parcel", "track refund"]


def test_probabilities_do_not_depend_on_the_rows_beside() -> None:
    clf = classifier(calibration_size=0, fusion=False).fit(messages())
    rows = ["track order", "pay for invoice", "return parcel"]
    alone = [clf.predict_proba([row])[0] for row in rows]
    np.testing.assert_allclose(clf.predict_proba(rows), alone)


def test_a_label_added_to_twenty_brings_a_shortlist_also_without_fusion() -> None:
    known = set(LABELS[:20])
    pool, more = messages(), [e for e in messages() if e.label == LABELS[20]]
    clf = classifier(calibration_size=0, fusion=False).fit([e for e in pool if e.label in known])
    assert clf.pipeline_.label_shortlist is None
    clf.pool_.add(more)
    shown = clf.explain("hello how do I cancel my parcel")
    assert len(shown.state.shortlist) == 8
    assert len(shown.state.demonstrations) == clf.pipeline_.k
