"""Several readings per row: other orders, other codes, one averaged answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pools import ROWS, reviews
from scripted import LABEL_MASS, ScriptedEngine

from ecomfs.core import event_loop
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.types import Status


def classifier(**options: Any) -> FewShotClassifier:
    engine = options.pop("engine", None) or ScriptedEngine()
    return FewShotClassifier(
        "review_sentiment", engine, embedder="hashed", language="en", calibration_size=0, **options
    ).fit(reviews())


@pytest.mark.parametrize("readout", ["words", "codes"])
def test_passes_are_averaged_and_paid_for(readout: Any) -> None:
    one = classifier(readout=readout).classify(ROWS)
    engine = ScriptedEngine()
    three = classifier(readout=readout, passes=3, engine=engine).classify(ROWS)
    assert sum(engine.calls) == 9
    for first, mean in zip(one, three, strict=True):
        assert mean.prompt_tokens > 2 * first.prompt_tokens
        assert mean.label_mass == pytest.approx(LABEL_MASS)
        assert sum(mean.probabilities.values()) == pytest.approx(1)
        assert mean.probabilities != first.probabilities
        assert mean.demonstration_ids == first.demonstration_ids


def test_the_mean_is_that_of_the_passes() -> None:
    clf = classifier(passes=4)
    cases = clf.pipeline_.prepare([{"text": r} for r in ROWS], ROWS)
    for case in cases:
        assert case.prompt is not None
        prompts = {case.prompt.text, *(p.text for p in case.extra_passes)}
        assert len(prompts) > 2  # the demonstrations change places
        assert len({tuple(sorted(p.split("\n\n"))) for p in prompts}) == 1
    alone = classifier()
    want = []
    for case in cases:
        setup = alone.pipeline_.setups["en"]
        asked = [p for p in (case.prompt, *case.extra_passes) if p is not None]
        found = event_loop.run(setup.readout.read(alone.engine_, asked))
        want.append(np.mean([p.probabilities for p in found], axis=0))  # type: ignore[union-attr]
    got = [list(p.probabilities.values()) for p in clf.classify(ROWS)]
    np.testing.assert_allclose(got, want)


def test_answers_repeat() -> None:
    assert classifier(passes=3).classify(ROWS) == classifier(passes=3).classify(ROWS)


def test_many_code_orders_bring_the_answers_near_each_other() -> None:
    """The engine's liking for a code is not the label's: it averages out."""
    one = [classifier(readout="codes", seed=s).predict_proba(ROWS) for s in range(4)]
    many = [classifier(readout="codes", seed=s, passes=16).predict_proba(ROWS) for s in range(4)]
    assert np.std(many, axis=0).mean() < 0.75 * np.std(one, axis=0).mean()


def test_a_row_that_fails_in_one_pass_fails() -> None:
    engine = ScriptedEngine(fails_on="ugly coat")
    found = classifier(passes=2, engine=engine).classify(ROWS)
    assert [p.status for p in found] == [Status.OK, Status.FAILED, Status.OK]


@pytest.mark.parametrize("passes", [0, 33])
def test_numbers_out_of_range_are_reported(passes: int) -> None:
    with pytest.raises(ConfigError, match=f"passes = {passes}"):
        classifier(passes=passes)
