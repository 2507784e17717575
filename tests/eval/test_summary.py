"""The summary has every metric, with an interval or with the reason why there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from strategies import predictions, quick

from ecomfs_eval import METRICS, Bootstrap, Predictions, get_metric, summarise
from ecomfs_eval.errors import OptionError

FAST = Bootstrap(resamples=100)


@quick
@given(p=predictions(rows=(1, 12)))
def test_nothing_breaks_a_summary_and_nothing_is_invented(p: Predictions) -> None:
    s = summarise(p, how=FAST)
    assert list(s.scores) == list(METRICS)
    for name, score in s.scores.items():
        plain = METRICS[name](p)
        assert score.value == plain.value
        assert (score.value is None) == bool(score.reason)
        if score.value is not None:
            assert np.isfinite(score.value)
        if score.interval is not None:
            assert score.interval.low <= score.interval.high
    assert json.loads(json.dumps(s.to_dict()))["rows"] == len(p)
    assert s.to_text()


def test_slices_are_scored_apart() -> None:
    p = Predictions.of(["a", "b"] * 4, ["a"] * 8, slices={"lang": ("en", "zh") * 4})
    s = summarise(p, ["accuracy"], how=FAST)
    assert s.slices["lang"]["en"]["accuracy"].value == 1
    assert s.slices["lang"]["zh"]["accuracy"].value == 0
    assert s["accuracy"].value == 0.5


def test_classes_have_intervals_unless_there_are_many() -> None:
    few = summarise(Predictions.of(["a", "b"] * 10, ["a", "b", "b", "b"] * 5), how=FAST)
    assert few.classes[0].recall.interval is not None
    labels = [f"c{i}" for i in range(40)]
    many = summarise(Predictions.of(labels, labels), how=FAST)
    assert many.classes[0].recall.interval is None
    assert many.classes[0].recall.value == 1


def test_any_metric_can_be_asked_for() -> None:
    p = Predictions.of(["a", "b"], ["a", "a"])
    s = summarise(p, ["f1[a]", get_metric("precision[b]")], how=FAST)
    assert s["f1[a]"].value == pytest.approx(2 / 3)
    assert s["precision[b]"].reason == "class 'b' was never answered"
    assert "undefined, class 'b' was never answered: precision[b]" in s.to_text()
    with pytest.raises(OptionError, match="no metrics"):
        summarise(p, [])
