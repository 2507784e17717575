"""Which step of the read-out chain is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from scripted import ScriptedEngine, examples

from ecomfs.core.options import ReadoutChoice
from ecomfs.engine.protocol import ChosenAnswer, TopTokens
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.readout import CHAIN, steps
from ecomfs.types import Prompt, Status


class ScriptedProvider(ScriptedEngine):
    """A scripted engine that names no tokens: it lists some, or keeps to answers."""

    def __init__(
        self, listed: dict[str, float] | None = None, choice: str | None = None, answer: str = ""
    ) -> None:
        super().__init__(logprobs=False, answer=answer)
        self.capabilities = replace(
            self.capabilities,
            top_logprobs=0 if listed is None else 20,
            choice=choice is not None,
        )
        self.listed = listed
        self.chosen = choice
        self.asked: list[str] = []

    async def top(self, prompts: list[Prompt]) -> list[TopTokens]:
        self.asked += [p.text for p in prompts]
        return [TopTokens(self.listed or {}, 7) for _ in prompts]

    async def choose(self, prompts: list[Prompt], answers: list[str]) -> list[ChosenAnswer]:
        self.asked += [p.text for p in prompts]
        return [ChosenAnswer(self.chosen or "", (), 7) for _ in prompts]


def fitted(engine: Any, labels: list[str] | None = None, **options: Any) -> Any:
    texts, own = examples()
    options = {"k": 4, "embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    task = "review_sentiment" if labels is None else "customer_intent"
    return FewShotClassifier(task, engine, **options).fit(
        texts, own if labels is None else [labels[i % len(labels)] for i in range(len(texts))]
    )


def readout(clf: Any) -> str:
    return str(clf.pipeline_.setups["en"].readout.name)


def test_the_names_are_those_of_the_option() -> None:
    assert get_args(ReadoutChoice) == ("auto", *(step.name for step in CHAIN))


@pytest.mark.parametrize(
    ("engine", "first"),
    [
        (ScriptedEngine(), "logprob-words"),
        (ScriptedProvider({" positive": -0.1}, " positive"), "top-words"),
        (ScriptedProvider(None, " positive"), "choice"),
        (ScriptedProvider(answer="positive"), "text"),
    ],
)
def test_auto_takes_the_first_step_that_is_met(engine: Any, first: str) -> None:
    clf = fitted(engine)
    assert readout(clf) == first
    (found,) = clf.classify(["it works"])
    assert found.status is Status.OK
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_a_list_gives_probabilities_and_a_mass() -> None:
    clf = fitted(ScriptedProvider({" Positive": -0.5, " the": -1.5, " negative": -3.0}))
    (found,) = clf.classify(["it works"])
    assert found.label == "positive"
    assert found.label_mass == pytest.approx(0.6065 + 0.0498, abs=1e-3)
    assert found.probabilities["negative"] == pytest.approx(0.0498 / 0.6563, abs=1e-3)
    assert found.prompt_tokens == 7


def test_a_list_without_a_label_is_no_answer() -> None:
    (found,) = fitted(ScriptedProvider({" The": -0.1, " I": -3.0})).classify(["it works"])
    assert (found.status, found.label, found.probabilities) == (Status.INVALID, None, {})
    assert "The" in found.error


def test_a_constraint_that_was_ignored_is_no_answer() -> None:
    (found,) = fitted(ScriptedProvider(None, " positively great")).classify(["it works"])
    assert (found.status, found.label) == (Status.INVALID, None)


def test_a_choice_has_no_mass() -> None:
    (found,) = fitted(ScriptedProvider(None, " negative")).classify(["it works"])
    assert (found.label, found.label_mass) == ("negative", None)
    assert found.probabilities == {"positive": 0.0, "negative": 1.0}


def test_labels_with_one_first_word_are_read_as_codes() -> None:
    labels = ["cancel order", "cancel refund", "track order"]
    engine = ScriptedProvider({" A": -0.1, " B": -3.0})
    clf = fitted(engine, labels)
    assert readout(clf) == "top-codes"
    assert set(clf.pipeline_.setups["en"].builder.answers) == {"A", "B", "C"}
    (found,) = clf.classify(["where is it"])
    places = dict(zip(clf.pipeline_.setups["en"].builder.answers, clf.classes_, strict=True))
    assert found.label == places["A"]
    # Of a list that could be longer "C" has at most what "B" has.
    assert 0 < found.probabilities[places["C"]] < found.probabilities[places["B"]]


def test_many_labels_of_a_provider_have_a_shortlist() -> None:
    labels = [
        f"{verb} {noun}"
        for verb in ("cancel", "track", "change", "pay", "return")
        for noun in ("order", "parcel", "refund", "invoice", "address")
    ]
    texts = [f"please {label} {n}" for label in labels for n in range(3)]
    engine = ScriptedProvider({f" {c}": -1.0 - n for n, c in enumerate("ABCDEFGHIJKLMNOPQRST")})
    clf = FewShotClassifier(
        "customer_intent", engine, k=4, embedder="hashed", language="en", calibration_size=0
    ).fit(texts, [label for label in labels for _ in range(3)])
    (found,) = clf.classify(["please track my parcel"])
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert set(found.probabilities) == set(labels)
    assert (
        sum(
            f": {label}\n" in engine.asked[-1] or f" = {label}\n" in engine.asked[-1]
            for label in labels
        )
        <= 8
    )


@pytest.mark.parametrize(
    ("engine", "choice", "met"),
    [
        (ScriptedProvider(answer="x"), "words", "text"),
        (ScriptedProvider({" x": -1.0}), "choice", "top-words or top-codes or text"),
        (ScriptedEngine(), "top-codes", "words or codes or text"),
    ],
)
def test_a_step_that_is_not_met_is_refused(engine: Any, choice: Any, met: str) -> None:
    with pytest.raises(ConfigError, match="engine scripted does not provide") as caught:
        fitted(engine, readout=choice)
    assert caught.value.hint == f"use --readout {met}"


def test_a_step_can_be_named() -> None:
    engine = ScriptedProvider({" A": -0.1}, " positive", "positive")
    names = ["top-words", "top-codes", "choice", "text"]
    assert [readout(fitted(engine, readout=name)) for name in names] == names
    assert [step.name for step in steps(engine)] == names


def test_the_choice_is_kept_with_the_profile_and_the_run() -> None:
    from ecomfs.batch import pipeline_identity

    engine = ScriptedProvider({" positive": -0.3, " negative": -1.5}, " positive")
    clf = fitted(engine, calibration_size=10)
    assert clf.profile_.readout == {"en": "top-words"}
    assert clf.profile_.readout_choice() == "top-words"
    assert pipeline_identity(clf.pipeline_)["template"]["en"]["readout"] == "top-words"
    again = fitted(engine, profile=clf.profile_, readout="auto")
    assert readout(again) == "top-words"
