"""Layouts of demonstrations in the whole pipeline: prompts with a shared prefix."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from intents import messages
from pools import reviews
from scripted import ScriptedEngine

from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import StoredPipeline

ROWS = ["a lovely soft hat", "broken and ugly coat", "great perfect shirt", "late and torn"]


def prompts(layout: str, **options: Any) -> list[str]:
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        embedder="hashed",
        language="en",
        layout=layout,
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


def beginning(texts: list[str]) -> int:
    """Characters that all texts begin with."""
    return next(n for n, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)


def test_a_shared_block_is_the_same_for_all_rows() -> None:
    assert len({tuple(blocks(text)) for text in prompts("shared")}) == 1


def test_prompts_begin_with_a_shared_block_and_end_with_their_own() -> None:
    both = [blocks(text) for text in prompts("both")]
    assert all(len(found) == 4 for found in both)
    assert len({tuple(found[:2]) for found in both}) == 1
    assert len({tuple(found) for found in both}) == len(both)


def test_a_leave_one_out_row_is_not_in_its_own_block() -> None:
    pool = reviews()
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        embedder="hashed",
        language="en",
        layout="shared",
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
        layout="shared",
        k=4,
        calibration_size=0,
    ).fit(pool)
    shown = set(clf.classify(ROWS)[0].demonstration_ids)
    clf.pool_.retire(sorted(shown))
    again = set(clf.classify(ROWS)[0].demonstration_ids)
    assert len(again) == 4
    assert not again & shown


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ConfigError, match="layout = 'some'"):
        prompts("some")


def test_the_block_stands_before_a_shortlist_so_that_rows_share_it() -> None:
    pool = messages(4)
    found = {}
    for layout in ("retrieved", "shared", "both"):
        clf = FewShotClassifier(
            "customer_intent",
            ScriptedEngine(),
            embedder="hashed",
            language="en",
            layout=layout,
            shortlist=3,
            k=4,
            calibration_size=0,
        ).fit(pool)
        rows = [{"text": e.fields["text"] + " please"} for e in pool[:12]]
        texts = [
            s.prompt.text
            for s in clf.pipeline_.prepare(rows, [str(i) for i in range(12)])
            if s.prompt is not None
        ]
        assert all(text.count("- ") == 3 for text in texts)
        assert len({text[text.index("Intents:") :] for text in texts}) == len(texts)
        found[layout] = beginning(texts)
    assert found["retrieved"] < found["both"] < found["shared"]


def test_the_block_of_a_profile_is_used_again(tmp_path: Path) -> None:
    pool = reviews()
    options: dict[str, Any] = {"embedder": "hashed", "language": "en", "k": 4}
    clf = FewShotClassifier(
        "review_sentiment", ScriptedEngine(), layout="both", calibration_size=12, **options
    ).fit(pool)
    assert clf.profile_ is not None
    block = clf.profile_.block
    assert clf.pipeline_.layout is not None
    assert block == clf.pipeline_.layout.block
    other = clf.profile_.model_copy(update={"block": block[::-1]})
    other.save(tmp_path / "profile.json")
    again = FewShotClassifier(
        "review_sentiment", ScriptedEngine(), profile=tmp_path / "profile.json", **options
    ).fit(pool)
    assert again.pipeline_.layout is not None
    assert (again.pipeline_.layout.name, again.pipeline_.layout.block) == ("both", block[::-1])
    copied = pickle.loads(pickle.dumps(StoredPipeline.of(again.pipeline_)))
    assert copied.block == block[::-1]


def test_other_passes_keep_what_rows_share_together() -> None:
    pool = reviews()
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        embedder="hashed",
        language="en",
        layout="both",
        passes=3,
        k=4,
        calibration_size=0,
    ).fit(pool)
    states = clf.pipeline_.prepare([{"text": r} for r in ROWS], ROWS)
    for number in range(2):
        texts = [state.extra_passes[number].text for state in states]
        assert len({tuple(blocks(text)[:2]) for text in texts}) == 1
