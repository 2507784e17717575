"""Rewrites by a real model, checked by the same one: SmolLM2 135M, four bits, in this process."""

from __future__ import annotations

import pytest
from writing import POOL

from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier
from ecomfs.prepare.augment import (
    CandidateFilter,
    FilterPolicy,
    RewriteSettings,
    rare_labels,
    rewrite,
)

pytestmark = pytest.mark.model


def test_a_model_writes_and_reads() -> None:
    clf = FewShotClassifier(
        "review_sentiment",
        "gguf:smollm2",
        k=4,
        embedder="hashed",
        language="en",
        calibration_size=0,
    ).fit(POOL)
    needs = rare_labels(POOL, clf.pipeline_.space, target=4)
    settings = RewriteSettings(attempts=2, generations=4, seed=1, max_tokens=40)

    def write() -> list[tuple[str, str]]:
        checks = CandidateFilter(clf.pipeline_, "text", FilterPolicy(confidence=0.6))
        result = event_loop.run(rewrite(checks, clf.engine_, needs, "text", settings))
        # The label lacks one example: no more texts are asked for once there is one.
        assert 1 <= len(result.candidates) <= 4
        assert len(result.kept) + len(result.rejected) == len(result.candidates)
        assert len(result.kept) <= 1
        assert all(
            c.read_as == c.example.label == "negative" for c in result.candidates if not c.reason
        )
        assert any(str(c.example.fields["text"]) for c in result.candidates)
        assert not {str(e.fields["text"]) for e in result.kept} & {
            str(e.fields["text"]) for e in POOL
        }
        return [(str(c.example.fields["text"]), c.reason) for c in result.candidates]

    assert write() == write()
