"""A service whose engine returns log-probabilities that are not a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from scripted import ScriptedEngine, classifier
from serving import ask, serving

from ecomfs.client import Client
from ecomfs.serve import create_app
from ecomfs.types import Prompt, Question, Reading, Status


class Breaks(ScriptedEngine):
    """Answers ``says`` for rows that contain "bad"."""

    says = math.nan

    def _reading(self, prompt: Prompt, questions: Sequence[Question]) -> Reading:
        good = super()._reading(prompt, questions)
        if "Review: bad" not in prompt.text:
            return good
        return Reading(tuple(tuple(self.says for _ in q.codes) for q in questions))


@pytest.mark.parametrize("says", [math.nan, math.inf, -math.inf, 5.0], ids=str)
def test_bad_rows_fail_with_the_reason_and_health_says_so_until_a_good_one(says: float) -> None:
    engine = Breaks()
    engine.says = says
    with serving(create_app(classifier(engine))) as url, Client(url) as client:
        good, bad = client.classify(["good", "bad"])
        assert good.status is Status.OK
        assert (bad.status, bad.label, bad.confidence) == (Status.FAILED, None, None)
        assert "no distribution" in bad.error
        [wire] = ask(url, "POST", "/v1/classify", {"rows": ["bad"]}).json["predictions"]
        assert (wire["status"], wire["confidence"], wire["probabilities"]) == ("failed", None, {})
        assert ask(url, "GET", "/healthz").json["status"] == "ok"  # two in a row
        client.classify(["bad"])
        health = ask(url, "GET", "/healthz").json
        assert health["status"] == "unhealthy"
        assert "no distribution" in health["engine_error"]
        assert client.explain("bad").prediction.status is Status.FAILED
        client.classify(["good"])
        health = ask(url, "GET", "/healthz").json
        assert (health["status"], health["engine_error"]) == ("ok", "")
