"""Tuning the prompt and the read-out, one factor after another, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pools import reviews
from scripted import ScriptedEngine

from ecomfs.core import event_loop
from ecomfs.engine.protocol import Engine
from ecomfs.errors import ConfigError, EngineError
from ecomfs.estimators import FewShotClassifier
from ecomfs.fit import Factor, TuneCandidate, tune
from ecomfs.fit.tune import LEAST
from ecomfs.types import Prompt, Question, Reading


class RowsOnly(ScriptedEngine):
    """Its readings depend on the row alone, not on the text before it."""

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        return await super().read(
            [replace(p, text=p.text.rsplit("\n\n", 1)[-1]) for p in prompts], questions
        )


class Copying(ScriptedEngine):
    """Answers with the label of the last demonstration."""

    def _weight(self, prompt: Prompt, question: Question, code: int) -> float:
        answers = [line for line in prompt.text.splitlines() if line.startswith("Sentiment: ")]
        said = answers[-1].removeprefix("Sentiment:") if answers else ""
        return 20.0 if said == self._text([code]) else 1.0


def classifier(engine: Engine, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(
        "review_sentiment", engine, embedder="hashed", language="en", **options
    )


def test_factors_are_chosen_within_the_budget() -> None:
    engine = ScriptedEngine()
    clf = classifier(engine, calibration_size=10, tune=150).fit(reviews())
    assert sum(engine.calls) <= 160
    assert clf.pipeline_.k in (4, 8, 16)
    assert "log loss" in clf.profile_.found["notes"][0]
    assert clf.profile_.k == clf.pipeline_.k


def test_the_cheapest_of_equal_layouts_is_chosen() -> None:
    clf = classifier(RowsOnly(), k=4, readout="words", calibration_size=10, tune=120)
    clf.fit(reviews())
    assert clf.profile_.layout == "shared"
    assert len(clf.profile_.block) == 4
    assert "layout: the fewest tokens to compute" in clf.profile_.found["notes"][0]
    assert clf.refresh().layout.block == clf.profile_.block


def test_a_clearly_better_layout_is_chosen_at_any_cost() -> None:
    clf = classifier(Copying(), k=4, readout="words", calibration_size=10, tune=240)
    clf.fit(reviews(80))
    assert clf.profile_.layout in ("retrieved", "both")
    assert clf.profile_.block == () or clf.profile_.layout == "both"


def test_options_set_by_the_user_are_not_tuned() -> None:
    clf = classifier(
        RowsOnly(), k=4, layout="retrieved", readout="words", calibration_size=10, tune=120
    ).fit(reviews())
    assert clf.profile_.layout == "retrieved"
    assert clf.profile_.block == ()


def test_an_equal_candidate_stops_early_and_a_broken_one_is_reported() -> None:
    pool = reviews()
    clf = classifier(ScriptedEngine(), calibration_size=0).fit(pool)

    def build(candidate: TuneCandidate) -> Any:
        if candidate.readout == "codes":
            raise ConfigError("no codes here")
        return clf.pipeline_

    factors = [Factor("k", (4,)), Factor("readout", ("codes",))]
    found = event_loop.run(tune(build, TuneCandidate(8, "words"), factors, pool, 60))
    assert found.chosen.k == 8
    assert found.tried[2].why == "no codes here"
    # The other k reads the same: that is known before all of its 20 examples are read.
    assert found.readings == 20 + LEAST
    few = event_loop.run(tune(build, TuneCandidate(8, "words"), factors, pool, 30))
    assert few.readings == 15 + LEAST
    assert "not compared within 30 readings: readout" in few.note


def test_a_candidate_that_loses_a_later_reading_cannot_be_used() -> None:
    pool = reviews()
    reads = classifier(ScriptedEngine(), k=0, calibration_size=0).fit(pool).pipeline_
    broken = ScriptedEngine(fails_on=str(pool[LEAST].fields["text"]))  # in the second part
    loses = classifier(broken, k=0, calibration_size=0).fit(pool).pipeline_

    def build(candidate: TuneCandidate) -> Any:
        return loses if candidate.k == 8 else reads

    found = event_loop.run(tune(build, TuneCandidate(8, "words"), [Factor("k", (4,))], pool, 60))
    assert found.chosen.k == 4
    assert found.chosen.loss is not None
    assert f"the default cannot be used (1 of {2 * LEAST} readings gave no" in found.note
