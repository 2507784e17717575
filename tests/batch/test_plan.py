"""A plan predicts what the run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import victim
from scripted import ScriptedEngine, classifier

from ecomfs.batch import (
    Condition,
    Prices,
    RunPlan,
    Selection,
    add_plans,
    find_columns,
    pipeline_identity,
    plan_table,
    run_identity,
    score_table,
)
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.errors import ConfigError, EngineUnavailableError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    victim.make_table(tmp_path / "in.csv", 120)
    return tmp_path / "in.csv"


def plan(source: Path, engine: Any, selection: Selection | None = None, **options: Any) -> RunPlan:
    pipeline = classifier(engine).pipeline_
    selection = selection or Selection()
    columns = find_columns(source, pipeline.card)
    identity = run_identity(str(source), pipeline_identity(pipeline), columns, selection)
    output = source.with_name("out.csv")
    return plan_table(str(source), output, pipeline, columns, selection, identity, **options)


def test_an_exact_plan_is_what_the_run_does(source: Path) -> None:
    engine = ScriptedEngine()
    said = plan(source, engine)
    assert sum(engine.calls) == 0  # nothing was spent
    tally = score_table(source, source.with_name("out.csv"), classifier(engine).pipeline_).tally
    assert said.rows == tally.rows == 120
    assert said.copies == tally.copied
    assert said.rows == said.unusable + said.copies + said.asked.value
    assert 0 < said.unusable <= tally.status["failed"]  # copies of an empty text fail too
    assert said.asked.exact
    assert said.asked.value == sum(engine.calls) == tally.read
    assert said.prompt_tokens is not None
    assert said.prompt_tokens.value == tally.prompt_tokens
    assert said.shared is not None
    assert 0 < said.shared < 1
    assert (said.journaled, said.remembered.value) == (0, 0)


def test_a_sampled_plan_has_an_interval_around_the_truth(source: Path) -> None:
    exact = plan(source, ScriptedEngine())
    sampled = plan(source, ScriptedEngine(), max_prompts=30)
    assert sampled.sampled == 30
    assert not sampled.asked.exact
    assert exact.prompt_tokens is not None
    assert sampled.prompt_tokens is not None
    for truth, guess in (
        (exact.asked.value, sampled.asked),
        (exact.prompt_tokens.value, sampled.prompt_tokens),
    ):
        assert guess.low <= truth <= guess.high
        assert guess.low <= guess.value <= guess.high


def test_known_answers_are_not_planned_again(source: Path, tmp_path: Path) -> None:
    inner = ScriptedEngine()
    engine = CachedEngine(inner, ReadingCache.open(tmp_path / "cache"))
    pipeline = classifier(engine).pipeline_
    score_table(source, tmp_path / "part.csv", pipeline, limit=50)
    said = plan(source, engine)
    assert said.remembered.value == sum(inner.calls)
    before = sum(inner.calls)
    score_table(source, tmp_path / "whole.csv", pipeline)
    assert sum(inner.calls) - before == said.asked.value
    engine.cache.close()


def test_an_interrupted_run_is_counted_as_done(source: Path) -> None:
    engine = ScriptedEngine()
    pipeline = classifier(engine).pipeline_

    def leave(tally: Any) -> None:
        engine.gone = tally.rows > 40

    with pytest.raises(EngineUnavailableError):
        score_table(source, source.with_name("out.csv"), pipeline, chunk_rows=8, on_progress=leave)
    said = plan(source, engine)
    assert said.journaled > 30
    assert said.journal == ""
    whole = plan(source, engine, Selection(limit=100))
    assert whole.journaled == 0
    assert "the selection (limit: none → 100) changed" in whole.journal
    engine.gone, before = False, sum(engine.calls)
    score_table(source, source.with_name("out.csv"), pipeline)
    assert sum(engine.calls) - before == said.asked.value


def test_the_selection_counts(source: Path) -> None:
    said = plan(source, ScriptedEngine(), Selection(where=(Condition.parse("id<10"),)))
    assert (said.rows, said.left_out) == (10, 110)


def test_prices(source: Path) -> None:
    said = plan(source, ScriptedEngine(), prices=Prices(2.0, answer=10.0))
    assert said.prompt_tokens is not None
    assert said.answer_tokens is not None
    assert said.cost is not None
    expected = (said.prompt_tokens.value * 2 + said.answer_tokens.value * 10) / 1e6
    assert said.cost.value == pytest.approx(expected)
    assert said.answer_tokens.value == said.asked.value  # one look a row
    cheaper = plan(source, ScriptedEngine(), prices=Prices(2.0, cached=0.5, answer=10.0))
    assert cheaper.cost is not None
    assert cheaper.cost.value < said.cost.value
    assert plan(source, ScriptedEngine()).cost is None
    for price in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="price"):
            Prices(price)


def test_time_comes_from_a_probe(source: Path) -> None:
    engine = ScriptedEngine()
    said = plan(source, engine, probe=4)
    assert 4 <= sum(engine.calls) <= 8
    assert said.rate is not None
    assert said.seconds is not None
    assert said.prompt_tokens is not None
    assert said.seconds.value == pytest.approx(said.prompt_tokens.value / said.rate)
    assert said.rate_from == "a probe of 4 rows"
    unknown = ScriptedEngine()
    unknown.fingerprint = "never run"
    assert plan(source, unknown).seconds is None


def test_a_model_without_a_tokenizer_has_no_token_count(source: Path) -> None:
    said = plan(source, ScriptedEngine(logprobs=False), prices=Prices(1.0))
    assert said.prompt_tokens is None
    assert said.cost is None
    assert said.shared is None


def test_several_inputs_add_up(source: Path) -> None:
    one = plan(source, ScriptedEngine())
    both = add_plans([one, one])
    assert both.rows == 240
    assert both.asked.value == 2 * one.asked.value
    assert both.shared == pytest.approx(one.shared)
