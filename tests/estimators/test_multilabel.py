"""MultiLabelClassifier: prompts, one batch, thresholds, failures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scripted import ScriptedEngine

from ecomfs.core import event_loop
from ecomfs.engine.factory import open_engine
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    InputError,
    NotFittedError,
    PoolError,
    UnknownLabelError,
)
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.pool import Pool
from ecomfs.task import TaskCard
from ecomfs.types import Example, Prompt, Question, Reading, Status

WORDS = {"late": "came late", "broken": "arrived broken", "rude": "support was rude"}


def complaints() -> list[tuple[str, set[str]]]:
    names = list(WORDS)
    out = []
    for n in range(24):
        own = {name for bit, name in enumerate(names) if n % 8 >> bit & 1}
        said = " and ".join(WORDS[name] for name in names if name in own) or "all is fine"
        out.append((f"order {n}: {said}", own))
    return out


class KnowsItsWords(ScriptedEngine):
    """Says yes where the row's own line has the words of the label that is asked about; the
    probability of yes is then ``high``, else ``low``."""

    def __init__(self, high: float = 0.8, low: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.high, self.low = high, low
        self.seen: list[str] = []

    def _reading(self, prompt: Prompt, questions: Sequence[Question]) -> Reading:
        *_, row, asked = prompt.text.split("\n")
        self.seen.append(prompt.text)
        p = self.high if WORDS[asked.rstrip(":")] in row else self.low
        assert self.tokenizer is not None
        by_token = {" yes": math.log(0.9 * p), " no": math.log(0.9 * (1 - p))}
        [question] = questions
        logprobs = tuple(by_token[self.tokenizer.decode([code])] for code in question.codes)
        return Reading((logprobs,), prompt_tokens=len(prompt.token_ids))


def fitted(engine: Any = None, **options: Any) -> MultiLabelClassifier:
    texts, sets = zip(*complaints(), strict=True)
    options = {"embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    clf = MultiLabelClassifier("customer_intent", engine or KnowsItsWords(), **options)
    return clf.fit(list(texts), list(sets))


def test_labels_are_read_each_by_itself() -> None:
    clf = fitted()
    found = clf.classify(["it came late and arrived broken", "all is fine"], ids=["a", "b"])
    assert [p.id for p in found] == ["a", "b"]
    assert set(found[0].labels or ()) == {"late", "broken"}
    assert found[1].labels == ()
    assert found[0].probabilities["rude"] == pytest.approx(0.3)
    assert found[0].probabilities["late"] == pytest.approx(0.8)
    assert found[0].label_mass == pytest.approx(0.9)
    assert clf.predict(["support was rude"]).tolist() == [frozenset({"rude"})]


def test_all_labels_of_all_rows_are_one_batch_with_shared_prefixes() -> None:
    engine = KnowsItsWords()
    clf = fitted(engine)
    clf.classify(["it came late", "fine", "rude"])
    assert engine.calls == [9]
    for start in range(0, 9, 3):
        prompts = engine.seen[start : start + 3]
        heads = {text.rsplit("\n", 1)[0] for text in prompts}
        assert len(heads) == 1
        assert sorted(text.rsplit("\n", 1)[1] for text in prompts) == ["broken:", "late:", "rude:"]
        assert heads.pop().split("\n")[-1].startswith("Message: ")


def test_each_label_gets_as_many_yes_as_no_examples() -> None:
    engine = KnowsItsWords()
    fitted(engine, k=7).classify(["order 99: came late"])
    lines = engine.seen[0].split("\n")
    for name in WORDS:
        said = [line for line in lines if line.startswith(f"{name}: ")]
        assert said.count(f"{name}: yes") == said.count(f"{name}: no") > 0
    # What the prompt says of an example is what it was labelled with.
    for text, own in complaints():
        if f"Message: {text}" in lines:
            at = lines.index(f"Message: {text}") + 1
            for line in lines[at : lines.index("", at)]:
                name, _, told = line.partition(": ")
                assert (told == "yes") == (name in own)


def test_demonstration_ids_match_the_prompt() -> None:
    engine = KnowsItsWords()
    clf = fitted(engine, k=5)
    [found] = clf.classify(["order 99: came late"])
    blocks = [line for line in engine.seen[0].split("\n")[:-2] if line.startswith("Message: ")]
    texts = [text for text, _ in complaints()]
    assert [f"Message: {texts[int(i)]}" for i in found.demonstration_ids] == blocks
    assert str(found.template).startswith("_multilabel/en.v1@")


def test_thresholds_are_fitted_leave_one_out() -> None:
    # Yes is never likelier than 0.4; only calibration and thresholds can tell.
    engine = KnowsItsWords(high=0.4, low=0.1)
    blind = fitted(engine)
    assert blind.predict(["it came late"]).tolist() == [frozenset()]
    assert blind.notes_ == ("no example was read leave-one-out: every threshold is 0.5",)
    steps: list[tuple[str, int, int | None]] = []
    texts, sets = zip(*complaints(), strict=True)
    clf = MultiLabelClassifier(
        "customer_intent", engine, embedder="hashed", language="en", calibration_size=24
    )
    engine.seen.clear()
    clf.fit(
        list(texts),
        list(sets),
        progress=lambda phase, done=0, total=None, detail="": steps.append((phase, done, total)),
    )
    assert steps[-1] == ("fitting", 24, 24)
    assert steps[0][0] == "loading the model"
    assert len(engine.seen) == 24 * 3
    # No example is in a prompt about itself.
    assert all(text.count(text.split("\n")[-2]) == 1 for text in engine.seen)
    assert clf.predict(["it came late", "nothing"]).tolist() == [frozenset({"late"}), frozenset()]
    assert clf.score(list(texts), list(sets)) == 1.0
    for threshold in clf.thresholds_.values():
        assert (threshold.yes, threshold.readings, threshold.f1) == (12, 24, 1.0)
    assert clf.notes_ == ()


def test_rare_labels_are_reported() -> None:
    texts, sets = map(list, zip(*complaints()[:8], strict=True))
    clf = MultiLabelClassifier(
        "customer_intent", KnowsItsWords(), embedder="hashed", language="en", calibration_size=8
    ).fit(texts, sets)
    [note] = clf.notes_
    assert "fewer than 8" in note
    assert "late (4)" in note


def test_every_shape_of_labels_gives_the_same_answers() -> None:
    texts, sets = map(list, zip(*complaints(), strict=True))
    rows = ["it came late", "all arrived broken"]
    cells = ["|".join(sorted(own)) or "[]" for own in sets]
    frame = pd.DataFrame({"text": texts, "label": cells})
    examples = [
        Example(str(i), {"text": t}, c) for i, (t, c) in enumerate(zip(texts, cells, strict=True))
    ]
    stored = Pool.in_memory(examples)

    def of(x: Any, y: Any = None) -> Any:
        clf = MultiLabelClassifier(
            "customer_intent", ScriptedEngine(), embedder="hashed", calibration_size=8
        )
        return clf.fit(x, y).classify(rows)

    expected = [dict(p.probabilities) for p in of(texts, sets)]
    for given in (of(texts, cells), of(frame), of(examples), of(stored)):
        assert [pytest.approx(dict(p.probabilities)) for p in given] == expected
    assert of(stored)[0].pool_version == stored.version


def test_verbs_agree() -> None:
    clf = fitted(ScriptedEngine())
    rows = ["it came late", "all is fine", "rude"]
    table, sets = clf.predict_proba(rows), clf.predict(rows)
    assert table.shape == (3, 3)
    assert clf.classes_.tolist() == ["broken", "late", "rude"]
    for values, own in zip(table, sets, strict=True):
        assert own == {name for name, p in zip(clf.classes_, values, strict=True) if p >= 0.5}
    assert clf.score(rows, sets) == 1.0
    assert clf.score(rows, ["late|made_up", *sets[1:]]) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="3 rows but 1 sets"):
        clf.score(rows, ["late"])


def test_a_row_that_fails_fails_alone_and_whole() -> None:
    engine = KnowsItsWords(fails_on="bad row\nlate:")
    clf = fitted(engine)
    found = clf.classify(["fine", "bad row", " "])
    assert [p.status for p in found] == [Status.OK, Status.FAILED, Status.FAILED]
    assert found[1].labels is None
    assert found[1].probabilities == {}
    assert found[1].error == "label 'late': no answer for this prompt"
    assert found[2].error == "field 'text' is empty"
    assert clf.predict(["fine", "bad row"]).tolist() == [frozenset(), None]
    table = clf.predict_proba(["fine", "bad row"])
    assert np.isnan(table[1]).all()
    assert not np.isnan(table[0]).any()


def test_an_engine_without_probabilities_answers_in_words() -> None:
    said = fitted(ScriptedEngine(logprobs=False, answer="Yes."), calibration_size=4)
    [found] = said.classify(["fine"])
    assert set(found.labels or ()) == set(WORDS)
    assert found.label_mass is None
    assert said.notes_ == ("no reading gave probabilities: every threshold is 0.5",)
    [odd] = fitted(ScriptedEngine(logprobs=False, answer="perhaps")).classify(["fine"])
    assert odd.status is Status.INVALID
    assert "the model answered 'perhaps', neither yes nor no" in odd.error
    assert odd.labels is None


def test_over_long_rows_lose_examples_first_and_say_so() -> None:
    engine = ScriptedEngine()
    clf = fitted(engine, k=8, budget=130)
    [found] = clf.classify(["it came late"])
    assert found.status is Status.OK
    assert "demonstrations left out to fit the context" in found.note


def test_zero_shot_takes_the_tasks_labels_and_rows_their_language() -> None:
    engine = ScriptedEngine()
    clf = MultiLabelClassifier("customer_intent", engine, embedder="hashed").fit([])
    found = clf.classify(["where is my parcel", "怎么退货"])
    assert len(clf.classes_) == 10
    assert [str(p.template).split("@")[0] for p in found] == [
        "_multilabel/en.v1",
        "_multilabel/zh.v1",
    ]
    assert sorted(engine.calls) == [10, 10]
    assert found[0].demonstration_ids == ()


@pytest.mark.parametrize(
    ("texts", "labels", "kind", "why"),
    [
        (["x", "y"], ["a|b", ""], InputError, "example 1 has no label"),
        (["x", "y"], ["a|b"], InputError, "2 rows but 1 labels"),
        (["x", "y"], [["a"], ["a"]], ConfigError, "the only label is 'a'"),
        (["x", "y"], [[], []], PoolError, "no example has any label"),
        (["x", ""], ["a|b", "a"], InputError, "field 'text' is empty"),
    ],
)
def test_invalid_pools_are_refused(
    texts: list[str], labels: list[Any], kind: type[EcomfsError], why: str
) -> None:
    clf = MultiLabelClassifier("customer_intent", ScriptedEngine(), embedder="hashed")
    with pytest.raises(kind, match=why):
        clf.fit(texts, labels)


def test_a_closed_task_refuses_other_labels_and_nothing_is_read_before_fit() -> None:
    clf = MultiLabelClassifier("review_sentiment", ScriptedEngine(), embedder="hashed")
    with pytest.raises(ConfigError, match="call fit first"):
        clf.predict(["x"])
    with pytest.raises(UnknownLabelError, match="meh"):
        clf.fit(["x", "y"], ["positive|negative", "meh"])


def test_rows_of_fields_are_put_into_words() -> None:
    both = {"en": "x", "zh": "x"}
    card = TaskCard.model_validate(
        {
            "name": "buyer_traits",
            "title": both,
            "description": both,
            "fields": [
                {"name": "visits", "title": {"en": "Visits", "zh": "访问"}, "kind": "number"},
                {"name": "device", "title": {"en": "Device", "zh": "设备"}, "kind": "category"},
            ],
            "label_title": both,
            "label_space": "open",
            "instruction": {"en": "What is true of this buyer?", "zh": "买家特征？"},
            "layout": "lines",
            "default_k": 4,
        }
    )
    rows = [{"visits": n, "device": "phone" if n % 2 else "desktop"} for n in range(20)]
    traits = [(("loyal", n > 9), ("mobile", n % 2 == 1)) for n in range(20)]
    sets = [{name for name, holds in of if holds} for of in traits]
    engine = ScriptedEngine()
    clf = MultiLabelClassifier(card, engine, embedder="hashed", language="en", calibration_size=6)
    clf.fit(rows, sets)
    [good, bad] = clf.classify(
        [{"visits": 3, "device": "phone"}, {"visits": "many", "device": "tv"}]
    )
    assert good.status is Status.OK
    assert set(good.probabilities) == {"loyal", "mobile"}
    assert bad.status is Status.FAILED
    assert "visits" in bad.error


@pytest.mark.model
def test_a_real_model_reads_every_label_of_two_rows_and_each_row_once() -> None:
    texts, sets = zip(*complaints()[:8], strict=True)
    engine = open_engine("gguf:smollm2")  # its own: kept readings would not be computed
    try:
        clf = MultiLabelClassifier(
            "customer_intent", engine, embedder="hashed", language="en", calibration_size=0, k=4
        ).fit(list(texts), list(sets))
        found = clf.classify(["order 40: came late and arrived broken", "order 41: all is fine"])
    finally:
        event_loop.run(engine.aclose())
    for p in found:
        assert p.status is Status.OK
        assert p.label_mass is not None
        assert p.label_mass > 0.3
        assert all(0 < value < 1 for value in p.probabilities.values())
        # Two of a row's three prompts begin as the first one does.
        assert p.cached_tokens > p.prompt_tokens / 3
    assert found[0].probabilities["late"] > found[1].probabilities["late"]


def test_a_row_is_explained_as_it_is_classified() -> None:
    clf = fitted(calibration_size=8)
    row = "it came late and arrived broken"
    [expected] = clf.classify([row], ids=["row"])
    found = clf.explain(row)
    assert found.prediction == replace(expected, pool_version=found.prediction.pool_version)
    plain = json.loads(json.dumps(found.to_dict()))
    assert set(plain["labels"]) == set(expected.labels or ())
    assert {name for name, r in plain["readings"].items() if r["given"]} == set(plain["labels"])
    for name, reading in plain["readings"].items():
        assert reading["probability"] == expected.probabilities[name]
        assert reading["threshold"] == clf.thresholds_[name].value
        assert reading["read"] is not None
    assert row in plain["prompt"]
    shown = str(found)
    assert shown.startswith("labels: ")
    assert all(name in shown for name in expected.probabilities)


def test_an_explanation_needs_a_fit_and_a_failed_row_says_why() -> None:
    with pytest.raises(NotFittedError):
        MultiLabelClassifier("customer_intent", ScriptedEngine()).explain("late")
    found = fitted().explain("")
    assert found.prompt is None
    assert found.to_dict()["labels"] is None
    assert "is empty" in str(found)


def test_a_precision_that_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^precision = 0.9 is fitted on examples read"):
        fitted(precision=0.9)
    profile = fitted(calibration_size=16).profile_
    with pytest.raises(ConfigError, match=r"^precision = 0.9 together with a profile"):
        fitted(profile=profile, precision=0.9)


@pytest.mark.parametrize(("first", "second"), [(None, "none"), ("none", None)])
def test_thresholds_with_a_model_do_not_hold_without_it(
    first: str | None, second: str | None
) -> None:
    profile = fitted(first, calibration_size=16).profile_
    assert profile is not None
    assert fitted(first, profile=profile).profile_ == profile
    with pytest.raises(ConfigError, match="its thresholds do not hold with"):
        fitted(second, profile=profile)
