"""Explanations: every step, the shortlist, the experts, and the influence of demonstrations."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from intents import messages
from scripted import ScriptedEngine, classifier

from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier
from ecomfs.types import Posterior, Prompt


def reread(clf: FewShotClassifier, text: str) -> tuple[float, ...]:
    """What the engine says of a prompt's text."""
    pipeline = clf.pipeline_
    readout = pipeline.setups["en"].readout
    [found] = event_loop.run(readout.read(pipeline.engine, [Prompt(text, None)]))  # type: ignore[arg-type]
    assert isinstance(found, Posterior)
    return found.probabilities


def test_each_demonstration_is_left_out_once_in_one_call() -> None:
    clf = classifier()
    engine: Any = clf.engine_
    engine.calls.clear()
    told = clf.explain("review 3 works", influence=True)
    assert engine.calls == [1, 4]
    assert told.influences is not None
    assert [i.example_id for i in told.influences.of] == list(told.prediction.demonstration_ids)
    assert told.state.prompt is not None
    place = clf.pipeline_.space.names.index(told.prediction.label or "")
    before = reread(clf, told.state.prompt.text)[place]
    for demonstration, i in zip(told.state.demonstrations, told.influences.of, strict=True):
        block = f"Review: {demonstration.text}\nSentiment: {demonstration.example.label}\n\n"
        assert told.state.prompt.text.count(block) == 1
        after = reread(clf, told.state.prompt.text.replace(block, ""))[place]
        assert i.without == pytest.approx(after)
        assert i.fall == pytest.approx(before - after)
        assert not i.why
    assert len({i.fall for i in told.influences.of}) > 1


def test_the_parts_of_an_influence() -> None:
    told = classifier().explain("review 3 works", influence=True)
    plain = json.loads(json.dumps(told.to_dict()))
    assert told.influences is not None
    assert plain["influence"]["of"][0]["fall"] == told.influences.of[0].fall
    text = str(told)
    assert text.count("without it: ") == 4
    turned = [i for i in told.influences.of if i.answer != told.prediction.label]
    assert text.count("and the answer is") == len(turned)


def test_without_asking_nothing_more_is_read() -> None:
    clf = classifier()
    engine: Any = clf.engine_
    engine.calls.clear()
    told = clf.explain("review 3 works")
    assert engine.calls == [1]
    assert told.influences is None
    assert told.to_dict()["influence"] is None
    assert "without it" not in str(told)


def test_a_reading_that_fails_is_that_demonstrations() -> None:
    clf = classifier()
    told = clf.explain("review 3 works", influence=True)
    assert told.state.prompt is not None
    first, second = told.state.demonstrations[:2]
    # The prompt without the first demonstration is the only one where the labels' listing is
    # followed by the second.
    joint = f"{told.state.prompt.text.split('Review: ')[0]}Review: {second.text}"
    failing = classifier(ScriptedEngine(fails_on=joint))
    told = failing.explain("review 3 works", influence=True)
    assert told.influences is not None
    assert [i.fall is None for i in told.influences.of] == [True, False, False, False]
    assert told.influences.of[0].example_id == first.example.id
    assert "no answer for this prompt" in told.influences.of[0].why
    assert "not read: no answer for this prompt" in str(told)


@pytest.mark.parametrize(
    ("engine", "options", "row", "why"),
    [
        (ScriptedEngine(logprobs=False, answer="positive"), {}, "fine", "no log-probabilities"),
        (ScriptedEngine(logprobs=False, answer="meh"), {}, "fine", "the row has no prediction"),
        (ScriptedEngine(), {"k": 0}, "fine", "no demonstrations"),
        (ScriptedEngine(), {}, " ", "the row has no prediction"),
    ],
)
def test_a_missing_influence_has_a_reason(
    engine: ScriptedEngine, options: dict[str, Any], row: str, why: str
) -> None:
    told = classifier(engine, **options).explain(row, influence=True)
    assert told.influences is not None
    assert told.influences.of == ()
    assert why in told.influences.note
    assert f"no influences: {told.influences.note}" in str(told)


def test_every_step_is_shown_with_the_label() -> None:
    clf = FewShotClassifier(
        "customer_intent", ScriptedEngine(), embedder="hashed", language="en", calibration_size=40
    ).fit(messages(each=6))
    told = clf.explain("hello how do I cancel my parcel", influence=True)
    assert list(told.stages) == ["read", "calibrated", "experts", "fused"]
    assert told.stages["fused"] == pytest.approx(dict(told.prediction.probabilities))
    text = str(told).splitlines()
    assert text[1].split() == ["read", "calibrated", "experts", "fused"]
    best = told.prediction.label
    assert best == "cancel parcel"
    assert text[2].split() == [f"{told.stages[s][best]:.3f}" for s in told.stages] + best.split()
    assert len(told.shortlist) == 8
    assert any(line.startswith("put to the model (8 of 30 labels): ") for line in text)
    plain = json.loads(json.dumps(told.to_dict()))
    assert plain["shortlist"] == list(told.shortlist)
    assert list(plain["experts"]) == ["vote", "probe"]
    for given in plain["experts"].values():
        assert set(given) == set(clf.pipeline_.space.names)
        assert sum(given.values()) == pytest.approx(1)
    assert 0 < plain["nearest"] <= 1
    assert f"nearest example: similarity {plain['nearest']:.3f}" in text
    assert any(line.startswith("expert vote: ") and best in line for line in text)


def test_a_label_that_the_model_was_not_asked_about_has_no_influence() -> None:
    clf = FewShotClassifier(
        "customer_intent", ScriptedEngine(), embedder="hashed", language="en", calibration_size=0
    ).fit(messages())
    names = clf.pipeline_.space.names
    told = clf.explain("hello how do I cancel my parcel")
    off = next(name for name in names if name not in told.shortlist)
    from dataclasses import replace

    from ecomfs.pipeline import influences

    other = replace(told.prediction, label=off, probabilities={off: 1.0})
    found = event_loop.run(
        influences(clf.pipeline_, {"text": "x"}, told.state, told.posterior, other)
    )
    assert found.of == ()
    assert "is not on the model" in found.note


def test_the_features_of_a_row_are_explained() -> None:
    pool = pd.DataFrame(
        {
            "liked": ['["Heat", "Alien", "Up"]', '["Up"]', '["Heat"]', '["Alien", "Heat"]'],
            "disliked": ['["Cars"]', '["Heat", "Cars"]', '["Up", "Cars"]', '["Up"]'],
            "item": ["Aliens", "Coco", "Ronin", "Moon"],
            "label": ["like", "dislike", "dislike", "like"],
        }
    )
    clf = FewShotClassifier(
        "product_preference", ScriptedEngine(), embedder="hashed", language="en", k=2
    ).fit(pool)
    row = {"liked": '["Heat", "Up", "Moon"]', "disliked": '["Cars"]', "item": "Alien"}
    told = clf.explain(row)
    plain = json.loads(json.dumps(told.to_dict()))
    assert sum(plain["experts"]["features"].values()) == pytest.approx(1)
    assert any("liked 3 of 4" in fact for fact in plain["facts"])
    assert "expert features: " in str(told)
    assert f"facts: {'; '.join(plain['facts'])}" in str(told)


def test_a_single_text_has_no_facts() -> None:
    told = classifier().explain("review 3 works")
    assert told.facts == ()
    assert "facts:" not in str(told)
