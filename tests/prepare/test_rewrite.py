"""Rewrites of rare examples: which are kept, and why others are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writing import POOL, SOURCE, Writer, by_words, checks

from ecomfs.calibration import Blend, DecisionPolicy, Fusion
from ecomfs.core import event_loop
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError, PoolError
from ecomfs.experts import Experts
from ecomfs.prepare.augment import (
    Augmented,
    CandidateFilter,
    FilterPolicy,
    RareLabel,
    RewriteSettings,
    load_prompts,
    rewrite,
    text_field,
)
from ecomfs.prepare.augment.candidates import REASONS
from ecomfs.prepare.clean.near import fingerprint
from ecomfs.task import load_task
from ecomfs.types import Example

ONE = RareLabel("negative", 3, 4)
GOOD = "within a minute the band was loose and now the thing is broken"


def write(writer: Writer, *needs: RareLabel, **options: object) -> Augmented:
    """Rewrites of the first example only, by default."""
    chosen = RewriteSettings(**{"attempts": 1, "generations": 1, **options})  # type: ignore[arg-type]
    return event_loop.run(rewrite(checks(writer), writer, needs or (ONE,), "text", chosen))


def test_a_good_rewrite_is_kept_and_marked() -> None:
    result = write(Writer(lambda source, seed: f' "{GOOD}" '))
    (made,) = result.kept
    assert (made.fields, made.label) == ({"text": GOOD}, "negative")
    assert (made.synthetic, made.source_id, made.method) == (True, "n1", "rewrite")
    (candidate,) = result.candidates
    assert candidate.read_as == "negative"
    assert candidate.confidence == pytest.approx(20 / 21)
    assert result.rejected == []
    report = result.to_dict()
    assert report["labels"] == {
        "negative": {"present": 3, "wanted": 4, "added": 1, "still_missing": 0}
    }
    assert set(report["rejected"].values()) == {0}
    assert report["about"]["writer"] == "scripted"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "empty"),
        ("★★★ !!", "empty"),
        ("表带松了，一下子就坏了，太差了真的", "wrong_language"),
        ("it broke", "length"),
        ("it broke " * 11, "length"),
        ("negative: in a minute the band was loose, broken", "leaks_label"),
        ("the strap came off, and it broke at once.", "copies_prompt"),
        ("strap came off and it broke", "copies_prompt"),
        ("Hot water in no time. Sadly, seven days in, the cover would no longer", "copies_prompt"),
        ("arrived with scratches, the lid is broken and it leaks", "near_copy"),
        ("in a minute the band was tight and it is working well", "other_label"),
        ("in a minute the band was there and we had a look at it", "unsure"),
        ("so broke " * 90, "unfinished"),
    ],
)
def test_each_check_has_its_reason(text: str, reason: str) -> None:
    writer = Writer(lambda source, seed: text)
    result = write(writer)
    (candidate,) = result.candidates
    assert candidate.reason == reason
    assert result.kept == []
    assert result.counts()[reason] == 1
    assert sum(result.counts().values()) == 1
    assert candidate.example.source_id == "n1"


def test_a_prompt_that_failed_is_a_candidate_too() -> None:
    result = write(Writer(lambda source, seed: GOOD, fails_on=SOURCE))
    assert [(c.reason, c.example.fields["text"]) for c in result.candidates] == [
        ("engine_error", "")
    ]
    assert "no answer for this prompt" in result.candidates[0].detail


def test_label_words_of_the_source_are_not_a_leak() -> None:
    pool = [Example("n", {"text": "a negative surprise, it broke at once"}, "negative"), *POOL[3:]]
    writer = Writer(lambda source, seed: "negative to me: within a day the thing was broken")
    chosen = RewriteSettings(attempts=1)
    made = event_loop.run(
        rewrite(checks(writer, pool), writer, [RareLabel("negative", 1, 2)], "text", chosen)
    )
    assert len(made.kept) == 1


def test_two_that_are_the_same_are_one() -> None:
    writer = Writer(lambda source, seed: GOOD)
    result = write(writer, RareLabel("negative", 3, 5), generations=2)
    assert [c.reason for c in result.candidates] == ["", "near_copy"]
    assert result.kept[0].id in result.candidates[1].detail


def test_the_classifier_does_not_see_the_source() -> None:
    """It does not see near duplicates or other rewrites of it either, but the rest of the pool."""
    kin = Example("k", {"text": "the band gave way, broken too"}, "negative", True, "n1", "rewrite")
    writer = Writer(lambda source, seed: GOOD)
    found = checks(writer, [*POOL, kin])
    event_loop.run(
        rewrite(found, writer, [ONE], "text", RewriteSettings(attempts=1, generations=1))
    )
    assert writer.asked
    for prompt in writer.asked:
        assert "came off" not in prompt
        assert "gave way" not in prompt
        assert "the lid is broken" in prompt


def test_experts_that_know_the_source_have_no_say() -> None:
    """A linear probe that was fitted on the source would give its label to all rewrites of it."""
    text = "in a minute the band was tight and it is working well"
    writer = Writer(lambda source, seed: text)
    alone = checks(writer).pipeline
    assert alone.retriever is not None
    fused = replace(
        alone,
        experts=Experts(alone.retriever, alone.space.names),
        policy=DecisionPolicy(fusion=Blend((Fusion({"probe": 100.0}),), (1.0,))),
    )
    chosen = RewriteSettings(attempts=1, generations=1)
    made = event_loop.run(rewrite(CandidateFilter(fused, "text"), writer, [ONE], "text", chosen))
    assert [c.reason for c in made.candidates] == ["other_label"]


def test_synthetic_examples_are_not_rewritten() -> None:
    kin = Example("k", {"text": "the band gave way, broken too"}, "negative", True, "n1", "rewrite")
    writer = Writer(lambda source, seed: "in a minute it broke " + str(len(source)))
    chosen = RewriteSettings(attempts=1)
    made = event_loop.run(
        rewrite(
            checks(writer, [*POOL, kin]), writer, [RareLabel("negative", 4, 90)], "text", chosen
        )
    )
    assert [c.example.source_id for c in made.candidates] == ["n1", "n1b", "n2"]


def test_rounds_end_when_there_are_enough_or_all_was_tried() -> None:
    words = ["band loose and broken", "clasp fell, it broke", "leaking all over my desk now"]
    few = Writer(lambda source, seed: words[seed] + f" within {seed} days of use")
    assert len(write(few, RareLabel("negative", 3, 5), attempts=9, generations=None).kept) == 2
    none = Writer(lambda source, seed: "")
    tried = write(none, RareLabel("negative", 3, 5), attempts=2, generations=None, seed=7)
    assert Counter(c.example.source_id for c in tried.candidates) == {"n1": 2, "n1b": 2, "n2": 2}
    assert none.seeds == [7, 8, 9]
    assert len({c.example.id for c in tried.candidates}) == 6
    assert len(write(none, RareLabel("negative", 3, 5), attempts=2, generations=3).candidates) == 3


def test_rewrites_before_an_engine_failure_are_kept() -> None:
    writer = Writer(lambda source, seed: GOOD)
    writer.gone_after = 1
    result = write(writer, RareLabel("negative", 3, 6), attempts=3, generations=None)
    assert len(result.kept) == 1
    assert isinstance(result.error, EngineUnavailableError)
    assert "does not answer" in result.to_dict()["error"]
    writer.gone_after = len(writer.seeds)
    with pytest.raises(EngineUnavailableError):
        write(writer)


def test_an_engine_that_cannot_write() -> None:
    with pytest.raises(ConfigError, match="does not generate text"):
        write(Writer(lambda source, seed: GOOD, generates=False))


def test_a_label_without_examples() -> None:
    with pytest.raises(PoolError, match="no example of 'neutral' that could be rewritten"):
        write(Writer(lambda source, seed: GOOD), RareLabel("neutral", 0, 2))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("abroke 坏.\n7", max_size=80), min_size=1, max_size=6), st.integers(4, 9))
def test_every_text_ends_kept_or_with_a_reason(texts: list[str], wanted: int) -> None:
    writer = Writer(lambda source, seed: texts[seed % len(texts)])
    result = write(writer, RareLabel("negative", 3, wanted), attempts=3, generations=None)
    assert len(result.kept) + len(result.rejected) == len(result.candidates)
    assert sum(result.counts().values()) == len(result.rejected)
    assert {c.reason for c in result.rejected} <= set(REASONS)
    assert len(result.kept) <= wanted - 3
    assert all(by_words(str(e.fields["text"])) == e.label for e in result.kept)
    keys = [fingerprint(str(e.fields["text"])).key for e in [*POOL, *result.kept]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"attempts": 0}, {"generations": 0}, {"max_tokens": 0}, {"seed": -1}],
)
def test_settings_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RewriteSettings(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"confidence": 1.1}, {"near": 0.2}, {"shortest": 1.5}, {"longest": 0.5}]
)
def test_policies_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        FilterPolicy(**options)


def test_the_field_that_is_rewritten() -> None:
    pair = load_task("query_relevance")
    assert text_field(pair, "query") == "query"
    with pytest.raises(ConfigError, match="--rewrite-field"):
        text_field(pair)
    with pytest.raises(ConfigError, match="no text field 'nothing'"):
        text_field(pair, "nothing")
    with pytest.raises(ConfigError, match="no text field to rewrite"):
        text_field(load_task("purchase_intent"))


def test_a_custom_prompt(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.jinja"
    path.write_text("Say it anew: {{ text }}\nAnew:")
    prompts = load_prompts(path)
    assert prompts["en"].render({"text": "x"}) == "Say it anew: x\nAnew:"
    with pytest.raises(MissingFileError):
        load_prompts(tmp_path / "none.jinja")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_prompt_ends_where_the_new_text_begins(language: str) -> None:
    text = load_prompts()[language].render({"text": "ROW {{ 1 + 1 }}"})  # type: ignore[index]
    *_, original, cue = text.splitlines()
    assert original.endswith("ROW {{ 1 + 1 }}")
    assert cue in ("Rewritten:", "改写：")
