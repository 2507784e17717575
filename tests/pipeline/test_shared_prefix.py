"""Shared demonstrations in the whole pipeline: prompts that begin alike, answers as before."""

from __future__ import annotations

from typing import Any

import pytest
from pools import reviews
from scripted import ScriptedEngine

from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier

ROWS = ["a lovely soft hat", "broken and ugly coat", "great perfect shirt", "late and torn"]


def prompts(mode: str, **options: Any) -> list[str]:
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        embedder="hashed",
        language="en",
        sharing=mode,
        k=4,
        calibration_size=0,
        **options,
    ).fit(reviews())
    return [
        p.text
        for c in clf.pipeline_.prepare([{"text": r} for r in ROWS], ROWS)
        if (p := c.prompt) is not None
    ]


def blocks(text: str) -> list[str]:
    """Demonstrations of a prompt, in order."""
    return [part for part in text.split("\n\n") if part.startswith("Review:")][:-1]


def test_global_blocks_are_the_same_for_all_rows() -> None:
    assert len({tuple(blocks(text)) for text in prompts("global")}) == 1


def test_mixed_prompts_begin_with_a_shared_block_and_end_with_their_own() -> None:
    mixed = [blocks(text) for text in prompts("mixed")]
    assert all(len(found) == 4 for found in mixed)
    assert len({tuple(found[:2]) for found in mixed}) < len(mixed)
    assert len({tuple(found) for found in mixed}) == len(mixed)


def test_none_is_the_default() -> None:
    clf = FewShotClassifier(
        "review_sentiment", ScriptedEngine(), embedder="hashed", calibration_size=0
    ).fit(reviews())
    assert clf.pipeline_.sharing is None


def test_what_is_read_leave_one_out_is_not_in_its_own_block() -> None:
    pool = reviews()
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        embedder="hashed",
        language="en",
        sharing="global",
        k=4,
        calibration_size=0,
    ).fit(pool)
    cases = clf.pipeline_.prepare(
        [e.fields for e in pool],
        [e.id for e in pool],
        exclude_ids=[{e.id} for e in pool],
        leave_self_out=True,
    )
    for example, case in zip(pool, cases, strict=True):
        assert example.id not in {d.example.id for d in case.demonstrations}


def test_a_changed_pool_gets_new_blocks() -> None:
    pool = reviews()
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        embedder="hashed",
        language="en",
        sharing="global",
        k=4,
        calibration_size=0,
    ).fit(pool)
    shown = set(clf.classify(ROWS)[0].demonstration_ids)
    clf.pool_.retire(sorted(shown))
    again = set(clf.classify(ROWS)[0].demonstration_ids)
    assert len(again) == 4
    assert not again & shown


def test_unknown_modes_and_shortlists_beside_it_are_refused() -> None:
    with pytest.raises(ConfigError, match="sharing = 'some'"):
        prompts("some")
    with pytest.raises(ConfigError, match="with a shortlist"):
        prompts("global", shortlist=5)
