"""Completion or chat: chosen on the examples, stored in the profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine, examples

from ecomfs.engine.chat import ChatModel
from ecomfs.engine.protocol import Spending
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.fit import Profile
from ecomfs.types import Prompt, Question, Reading, Turn


class ChatEngine(ScriptedEngine):
    """Reads sense in one of the formats only: there, what broke is negative."""

    def __init__(self, sense: str = "chat", **options: Any) -> None:
        super().__init__(**options)
        self.sense = sense
        assert self.tokenizer is not None
        self.chat = ChatModel("0", self._render, self.tokenizer.encode_control)

    def _render(self, turns: Sequence[Turn]) -> str:
        return "".join(f"<|{t.role}|>{t.text}<|end|>" for t in turns) + "<|assistant|>"

    def _reading(self, prompt: Prompt, questions: Sequence[Question]) -> Reading:
        if bool(prompt.turns) != (self.sense == "chat"):
            return super()._reading(prompt, questions)
        row = prompt.text.rpartition("Review:")[2]
        good = "positive" if "works" in row else "negative"
        values = [
            tuple(math.log(0.8 if self._text([c]).strip() == good else 0.1) for c in q.codes)
            for q in questions
        ]
        return Reading(tuple(values), prompt_tokens=len(prompt.token_ids))


class PaidEngine(ChatEngine):
    spending = Spending()

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        return None


def fitted(engine: Any, **options: Any) -> FewShotClassifier:
    options = {"k": 2, "embedder": "hashed", "language": "en", "fusion": False, **options}
    return FewShotClassifier("review_sentiment", engine, **options).fit(*examples(40))


@pytest.mark.parametrize("sense", ["completion", "chat"])
def test_the_format_that_reads_better_is_chosen_and_kept(sense: str, tmp_path: Path) -> None:
    engine = ChatEngine(sense)
    clf = fitted(engine, calibration_size=24)
    assert clf.pipeline_.format == clf.profile_.prompt_format == sense
    note = clf.profile_.found["notes"][0]
    assert note.startswith(f"k 2 {sense} both: format: ")
    # Each format at most, and then the fit (a cache would know some of it).
    assert sum(engine.calls) <= 3 * 24

    clf.profile_.save(tmp_path / "p.json")
    again = fitted(ChatEngine(sense), profile=tmp_path / "p.json")
    assert again.pipeline_.format == sense
    assert again.pipeline_.engine.calls == []
    found = again.classify(["it broke at once"])[0]
    assert found.label == "negative"
    assert ("+chat@" in str(found.template)) == (sense == "chat")


def test_a_format_that_is_named_is_not_questioned() -> None:
    engine = ChatEngine()
    clf = fitted(engine, format="completion", calibration_size=24)
    assert clf.pipeline_.format == "completion"
    assert sum(engine.calls) == 24


def test_nothing_is_chosen_where_nothing_is_read_or_readings_cost_money() -> None:
    engine = ChatEngine()
    fitted(engine, calibration_size=0)
    assert engine.calls == []
    paid = PaidEngine()
    fitted(paid, calibration_size=24)
    assert sum(paid.calls) == 24
    tuned = fitted(PaidEngine(), calibration_size=24, tune=96)
    assert tuned.pipeline_.format == "chat"


def test_a_model_without_a_chat_template_says_so() -> None:
    assert fitted(ScriptedEngine(), calibration_size=16).pipeline_.format == "completion"
    with pytest.raises(ConfigError, match="scripted: the model has no chat template"):
        fitted(ScriptedEngine(), format="chat")


def test_a_profile_of_another_format_is_noticed(tmp_path: Path) -> None:
    fitted(ChatEngine(), calibration_size=24).profile_.save(tmp_path / "p.json")
    profile = Profile.load(tmp_path / "p.json")
    with pytest.warns(UserWarning, match=r"fitted on template .*\+chat@"):
        fitted(ChatEngine(), profile=profile, format="completion")
