"""Fitting on the pool: what is fitted, guaranteed, stored, and chosen within a budget."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pools import ROWS, reviews
from scripted import ScriptedEngine

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.estimators import FewShotClassifier
from ecomfs.fit import Profile, ProfileWarning
from ecomfs.pipeline import DECIDED, SURE
from ecomfs.types import Example, Prompt, Question, Status


class Reversed(HashedEmbedder):
    """Another embedder."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = "reversed"


def classifier(**options: Any) -> FewShotClassifier:
    return FewShotClassifier(
        "review_sentiment",
        options.pop("engine", None) or ScriptedEngine(),
        embedder="hashed",
        language="en",
        **options,
    )


def test_experts_that_know_outvote_a_model_that_does_not() -> None:
    clf = classifier(calibration_size=40).fit(reviews())
    assert clf.predict(ROWS).tolist() == ["positive", "negative", "positive"]
    found = clf.profile_.found
    assert 16 <= found["readings"] <= 40
    assert found["loss"]["fused"] < found["loss"]["calibrated"]
    # The scripted engine is at chance: it loses weight in the fusion, and has none alone.
    together, experts, model = clf.profile_.fusion.components
    assert together.weights["model"] < together.weights["experts"]
    assert (experts.weights, model.weights) == ({"experts": 1.0}, {"model": 1.0})
    assert clf.profile_.fusion.weights[2] < 0.05
    assert {p.source for p in clf.classify(ROWS)} == {"fused"}


def test_without_fusion_the_model_answers_alone() -> None:
    clf = classifier(calibration_size=40, fusion=False).fit(reviews())
    for prediction in clf.classify(ROWS):
        assert prediction.source == "model"
        assert list(prediction.stages) == ["read", "calibrated"]


def test_nothing_is_fitted_without_readings() -> None:
    clf = classifier(calibration_size=0).fit(reviews())
    assert clf.profile_ is None
    for prediction in clf.classify(ROWS):
        assert list(prediction.stages) == ["read"]
        assert prediction.stages["read"] == tuple(prediction.probabilities.values())


def test_few_readings_use_the_prior_and_say_so() -> None:
    clf = classifier(calibration_size=5).fit(reviews())
    assert clf.profile_.fusion.components[0].readings == 0
    assert clf.profile_.fusion.weights == (1.0, 0.0, 0.0, 0.0)
    assert any("too few" in note for note in clf.profile_.found["notes"])


def test_sure_experts_answer_without_the_model() -> None:
    engine = ScriptedEngine()
    clf = classifier(engine=engine, calibration_size=20, max_loss=0.05).fit(reviews())
    before = sum(engine.calls)
    found = clf.classify([*ROWS, "nothing known here at all"])
    skipped = [p for p in found if p.source == "experts"]
    assert skipped
    assert sum(engine.calls) - before == len(found) - len(skipped)
    for prediction in skipped:
        assert prediction.status == Status.OK
        assert prediction.source == "experts"
        assert prediction.note in (DECIDED, SURE)
        assert prediction.prompt_tokens == 0


def test_a_loss_that_the_pool_cannot_show_is_not_promised() -> None:
    clf = classifier(calibration_size=20, max_loss=0.01).fit(reviews(30))
    assert clf.profile_.skip_from is None
    assert any("the model reads every row" in note for note in clf.profile_.found["notes"])
    assert {p.source for p in clf.classify(ROWS)} == {"fused"}


def test_rows_below_the_threshold_abstain_and_need_review() -> None:
    clf = classifier(calibration_size=40, precision=0.8, coverage=0.9).fit(reviews())
    assert clf.profile_.accept_from is not None
    found = clf.classify([*ROWS, "1 2 3"])
    for prediction in found:
        confident = max(prediction.probabilities.values()) >= clf.profile_.accept_from
        assert prediction.status == (Status.OK if confident else Status.ABSTAINED)
        assert (prediction.label is None) == (not confident)
        assert prediction.suggestion in ("positive", "negative")
        assert prediction.suggestion == prediction.prediction_set[0]
        if not confident:
            assert prediction.note == "abstained: needs review"


def test_a_precision_that_cannot_be_shown_lets_every_row_abstain() -> None:
    clf = classifier(calibration_size=12, precision=0.99).fit(reviews())
    assert {p.status for p in clf.classify(ROWS)} == {Status.ABSTAINED}
    assert any("do not show a precision" in note for note in clf.profile_.found["notes"])


def test_rows_unlike_the_pool_are_novel() -> None:
    clf = classifier(calibration_size=40, novel_below=0.1).fit(reviews())
    known, strange = clf.classify(["lovely and great shirt", "quantum chromodynamics lecture"])
    assert strange.novelty is not None
    assert known.novelty is not None
    assert strange.novelty < known.novelty
    assert strange.status == Status.ABSTAINED


@pytest.mark.parametrize("engine", [None, "none"])
def test_examples_without_a_neighbour_do_not_say_what_is_novel(engine: str | None) -> None:
    # Left out, an example of a repeated text has no other text as a neighbour.
    same = [
        Example(str(i), {"text": "same"}, "positive" if i % 2 else "negative") for i in range(24)
    ]
    clf = classifier(engine=engine, calibration_size=24, novel_below=0.1).fit(same)
    assert clf.pipeline_.policy.novelty is None
    what = "readings" if engine is None else "examples"
    assert f"0 {what} with neighbours are too few" in " ".join(clf.profile_.found["notes"])


@pytest.mark.parametrize("name", ["max_loss", "precision", "coverage", "novel_below"])
def test_guarantees_out_of_range_are_reported(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = 95"):
        classifier(**{name: 95}).fit(reviews())


def test_a_profile_is_used_as_it_is(tmp_path: Path) -> None:
    first = classifier(calibration_size=40, precision=0.8, coverage=0.9, k=4).fit(reviews())
    first.profile_.save(tmp_path / "p.json")
    engine = ScriptedEngine()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = classifier(engine=engine, profile=tmp_path / "p.json").fit(reviews())
    assert not engine.calls  # nothing was read leave-one-out
    assert second.pipeline_.k == 4
    assert second.classify(ROWS) == first.classify(ROWS)
    assert Profile.load(tmp_path / "p.json") == first.profile_


def test_a_profile_that_no_longer_fits_warns(tmp_path: Path) -> None:
    first = classifier(calibration_size=20, k=4).fit(reviews())
    first.profile_.save(tmp_path / "p.json")
    other = ScriptedEngine()
    other.fingerprint = "scripted-2"
    with pytest.warns(ProfileWarning) as told:
        classifier(engine=other, profile=tmp_path / "p.json", k=2, template="v2").fit(
            reviews(seed=1)
        )
    text = "\n".join(str(w.message) for w in told)
    for part in ("scripted-2", "40 others", "k = 2", "v2"):
        assert part in text


def test_files_that_are_no_profiles_are_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        Profile.load(tmp_path / "none.json")
    (tmp_path / "p.json").write_text("{")
    with pytest.raises(ConfigError, match="not a profile"):
        Profile.load(tmp_path / "p.json")
    good = json.loads(classifier(calibration_size=20).fit(reviews()).profile_.model_dump_json())
    (tmp_path / "p.json").write_text(json.dumps(good | {"k": -1}))
    with pytest.raises(ConfigError, match=r"p\.json: k:"):
        Profile.load(tmp_path / "p.json")


@pytest.mark.parametrize("number", [1, 2, 4])
def test_profiles_of_other_formats_are_refused_with_a_way_out(tmp_path: Path, number: int) -> None:
    profile = classifier(calibration_size=20).fit(reviews()).profile_
    old = json.loads(profile.model_dump_json()) | {"format": number, "fusion": {"accounts": []}}
    (tmp_path / "p.json").write_text(json.dumps(old))
    with pytest.raises(ConfigError, match=f"format {number}") as raised:
        Profile.load(tmp_path / "p.json")
    assert "fit again" in raised.value.hint


@pytest.mark.parametrize("which", ["fusion", "cheap"])
def test_a_profile_that_weighs_an_expert_the_pool_lacks_is_refused(which: str) -> None:
    profile = classifier(calibration_size=20).fit(reviews()).profile_
    dump = json.loads(profile.model_dump_json())
    dump[which]["components"][0]["weights"]["astrology"] = 0.5
    with pytest.raises(ConfigError, match="'astrology', which this pool does not have") as raised:
        classifier(profile=Profile.model_validate(dump)).fit(reviews())
    assert "fit again" in raised.value.hint
    dump[which]["components"][0]["weights"]["astrology"] = 0.0
    assert classifier(profile=Profile.model_validate(dump)).fit(reviews()).predict(ROWS).size == 3


def test_readings_of_examples_the_experts_were_not_weighed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pool larger than the experts' own sample, with synthetic examples between the others."""
    monkeypatch.setattr("ecomfs.experts.expert.LEAVE_ONE_OUT_EXAMPLES", 20)
    pool = reviews(60)
    made = [
        Example(f"s{i}", {"text": f"{e.fields['text']} again"}, e.label, True, e.id, "rewrite")
        for i, e in enumerate(pool[:10])
    ]
    mixed = [example for pair in zip(made, pool, strict=False) for example in pair] + pool[10:]
    found = classifier(calibration_size=40).fit(mixed).profile_.found
    assert 16 <= found["readings"] <= 40
    assert found["accuracy"]["experts"] > 0.8


def test_weights_go_on_when_the_pool_changes() -> None:
    clf = classifier(calibration_size=40).fit(reviews())
    clf.pool_.add([Example("new", {"text": "splendid gloves"}, "positive")])
    found = clf.classify(["splendid gloves"])[0]
    assert found.label == "positive"
    read = clf.profile_.found["readings"]
    assert clf.pipeline_.policy.fusion.components[0].readings == read
    assert found.source == "fused"


def pairs() -> pd.DataFrame:
    words = [f"thing{i} kind{i * 7}" for i in range(24)]
    rows = [
        (q, f"{words[(i + shift) % 24]} for sale") for i, q in enumerate(words) for shift in (0, 5)
    ]
    frame = pd.DataFrame(rows, columns=["query", "product"])
    frame["label"] = ["relevant", "irrelevant"] * 24
    return frame


def test_a_profile_keeps_and_applies_the_weights_of_the_feature_model(tmp_path: Path) -> None:
    how: dict[str, Any] = {"embedder": "hashed", "language": "en", "k": 2}
    first = FewShotClassifier("query_relevance", ScriptedEngine(), calibration_size=12, **how)
    first.fit(pairs())
    first.profile_.save(tmp_path / "p.json")
    kept = Profile.load(tmp_path / "p.json")
    assert kept.cheap is not None
    assert kept.cheap.weights[1] > 0.5  # the features alone: words say nothing of a new pair
    second = FewShotClassifier(
        "query_relevance", ScriptedEngine(), profile=tmp_path / "p.json", **how
    ).fit(pairs())
    assert second.pipeline_.policy == first.pipeline_.policy
    new = pd.DataFrame(
        {"query": ["green lamp", "green lamp"], "product": ["a green lamp", "an oak table"]}
    )
    assert second.classify(new) == first.classify(new)
    stages = [p.stages["experts"] for p in first.classify(new)]
    place = first.pipeline_.space.names.index("relevant")
    assert stages[0][place] > 0.7
    assert stages[1][place] < 0.3


def secret(number: str) -> str:
    """The label of a product by its number: nothing that experts could learn from others."""
    return "relevant" if hashlib.sha256(number.encode()).digest()[0] % 2 else "irrelevant"


class Knowing(ScriptedEngine):
    """An engine that knows the true labels."""

    def _weight(self, prompt: Prompt, question: Question, code: int) -> float:
        label = secret(re.findall(r"table (\d+)", prompt.text)[-1])
        return 20.0 if label.startswith(self._text([code]).strip()) else 1.0


def unlike_pairs() -> pd.DataFrame:
    """Pairs whose words say nothing of their labels."""
    numbers = [str(100 + i * 37) for i in range(60)]
    frame = pd.DataFrame({"query": ["lamp"] * 60, "product": [f"table {n}" for n in numbers]})
    frame["label"] = [secret(n) for n in numbers]
    return frame


def test_a_model_that_adds_nothing_to_a_feature_model_is_not_asked() -> None:
    engine = ScriptedEngine()
    how: dict[str, Any] = {"embedder": "hashed", "language": "en", "k": 2, "calibration_size": 24}
    clf = FewShotClassifier("query_relevance", engine, **how).fit(pairs())
    assert not clf.profile_.fusion.read(clf.pipeline_.space.names).asks_model
    found = clf.profile_.found
    assert any("the model is not used for predictions" in note for note in found["notes"])
    assert found["loss"]["fused"] == found["loss"]["experts"]
    assert found["decided"] == len(pairs())
    before = sum(engine.calls)
    new = pd.DataFrame({"query": ["green lamp", "lamp"], "product": ["a green lamp", "a table"]})
    for prediction in clf.classify(new):
        assert (prediction.note, prediction.status) == (DECIDED, Status.OK)
    assert sum(engine.calls) == before
    # With cascade=False every row is read; the answer is still that of the experts.
    whole = FewShotClassifier("query_relevance", engine, **how, cascade=False).fit(pairs())
    for prediction in whole.classify(new):
        assert {"read", "experts", "fused"} <= set(prediction.stages)
        assert prediction.stages["fused"] == pytest.approx(prediction.stages["experts"])


def test_a_model_that_adds_to_a_feature_model_takes_part() -> None:
    how: dict[str, Any] = {"embedder": "hashed", "language": "en", "k": 2, "calibration_size": 24}
    clf = FewShotClassifier("query_relevance", Knowing(), **how).fit(unlike_pairs())
    assert clf.profile_.fusion.read(clf.pipeline_.space.names).asks_model
    assert not any("no part" in note for note in clf.profile_.found["notes"])


@pytest.mark.parametrize("name", ["precision", "coverage", "max_loss", "novel_below"])
def test_a_guarantee_without_readings_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} = 0.1 is fitted on examples read"):
        classifier(calibration_size=0, **{name: 0.1}).fit(reviews())
    with pytest.raises(ConfigError, match=f"^{name} = 0.1 .* there are none"):
        classifier(**{name: 0.1}).fit([])


def test_experts_alone_need_no_readings_for_a_guarantee() -> None:
    clf = classifier(engine="none", calibration_size=0, precision=0.8).fit(reviews())
    assert clf.pipeline_.policy.accept_from is not None


def test_a_profile_gives_its_own_guarantees_and_no_others() -> None:
    profile = classifier(calibration_size=40, precision=0.8).fit(reviews()).profile_
    again = classifier(profile=profile, precision=0.8).fit(reviews())
    assert again.pipeline_.policy.accept_from == profile.accept_from
    for other in ({"precision": 0.99}, {"coverage": 0.9}):
        with pytest.raises(ConfigError, match="together with a profile, which has its own"):
            classifier(profile=profile, **other).fit(reviews())


def test_a_loss_is_not_shown_by_answers_without_probabilities() -> None:
    engine = ScriptedEngine(logprobs=False, answer="positive")
    clf = classifier(engine=engine, calibration_size=20, max_loss=0.1).fit(reviews())
    assert clf.pipeline_.policy.skip_from is None
    assert "no reading gave probabilities, which max_loss needs" in " ".join(
        clf.profile_.found["notes"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"passes": 2}, "fitted with passes 1, used with 2"),
        ({"rendering": "raw"}, "fitted with rendering words, used with raw"),
        ({"mask": "patterns"}, "fitted with mask none, used with patterns"),
        ({"strategy": "random"}, "fitted with strategy Balanced, used with Random"),
        ({"language": "zh"}, "fitted in en, used in zh"),
        ({"embedder": Reversed()}, "fitted with embedder hashed-.*, used with reversed"),
    ],
)
def test_a_profile_that_is_used_with_other_options_says_so(
    options: dict[str, Any], said: str
) -> None:
    usual = {"embedder": "hashed", "language": "en"}
    profile = (
        FewShotClassifier("review_sentiment", ScriptedEngine(), calibration_size=8, **usual)
        .fit(reviews())
        .profile_
    )
    with pytest.warns(ProfileWarning, match=f"^profile: {said}; fit again$"):
        FewShotClassifier(
            "review_sentiment", ScriptedEngine(), profile=profile, **{**usual, **options}
        ).fit(reviews())


def test_the_bias_for_a_code_is_not_that_of_another_label() -> None:
    first = classifier(calibration_size=16, readout="codes").fit(reviews())
    assert first.pipeline_.setups["en"].calibration is not None
    same = classifier(profile=first.profile_, readout="codes").fit(reviews())
    assert same.classify(ROWS) == first.classify(ROWS)
    seed = next(
        n
        for n in range(1, 20)
        if classifier(calibration_size=0, readout="codes", seed=n)
        .fit(reviews())
        .pipeline_.setups["en"]
        .builder.answers
        != first.pipeline_.setups["en"].builder.answers
    )
    with pytest.warns(ProfileWarning, match="readings are not calibrated; fit again"):
        other = classifier(profile=first.profile_, readout="codes", seed=seed).fit(reviews())
    assert other.pipeline_.setups["en"].calibration is None


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("calibration", "en", "temperature"), 0, "greater than 0"),
        (("accept_from",), float("nan"), "finite number"),
        (("fusion", "weights"), [1.0], "one weight per component, and one for the label shares"),
        (("cheap", "weights"), [0.9, 0.9], "the weights sum to 1.8"),
        (("cheap", "shares", "positive"), 0.9, "the shares sum to 1.4"),
        (("cheap",), None, "lacks the weight of each"),
    ],
)
def test_a_profile_with_impossible_numbers_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: object, said: str
) -> None:
    path = tmp_path / "p.json"
    classifier(calibration_size=16).fit(reviews()).profile_.save(path)
    values = inner = json.loads(path.read_text())
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=said):
        classifier(profile=path).fit(reviews())
