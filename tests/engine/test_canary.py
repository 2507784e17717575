"""The start-up check, on real models whose answers are altered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from fault_server import FaultServer
from scripted import ScriptedEngine

from ecomfs.core import event_loop
from ecomfs.engine.canary import CanaryReport, Check, canary
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.protocol import Engine, Tokenizer
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import CanaryError, EngineError, EngineUnavailableError
from ecomfs.types import Generation, Prompt, Question, Reading

model = pytest.mark.model


class Spoiled:
    """A real engine behind something that changes its answers, as a gateway or a bad conversion
    would. ``change`` gets a reading's log-probabilities of one question."""

    def __init__(self, engine: GgufEngine, change: Any = None, tokenizer: Any = None) -> None:
        self._engine = engine
        self._change = change
        self.tokenizer: Tokenizer = tokenizer or engine.tokenizer
        self.spec = "spoiled"
        self.fingerprint = "spoiled"
        self.capabilities = engine.capabilities

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        answers = await self._engine.read(prompts, questions)
        if self._change is None:
            return answers
        return [
            Reading(tuple(map(self._change, a.logprobs)), a.prompt_tokens, a.cached_tokens)
            if isinstance(a, Reading)
            else a
            for a in answers
        ]

    async def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[Generation | EngineError]:
        return await self._engine.generate(prompts, max_tokens=max_tokens, stop=stop)

    async def aclose(self) -> None:
        """The engine belongs to the fixture."""


class WithoutBos:
    """A tokenizer that forgets BOS, as one converted carelessly does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)


def renormalised(values: tuple[float, ...]) -> tuple[float, ...]:
    """What is left of a distribution under a mask."""
    total = math.log(sum(map(math.exp, values)))
    return tuple(v - total for v in values)


def report_of(engine: Engine, **options: Any) -> CanaryReport:
    return event_loop.run(canary(engine, **options))


def failed(report: CanaryReport) -> list[str]:
    return [check.name for check in report.checks if not check.ok]


@model
@pytest.mark.parametrize("name", ["smollm2", "gemma"])
def test_a_sound_engine_passes(name: str, request: pytest.FixtureRequest) -> None:
    engine = request.getfixturevalue(name)
    report = report_of(engine)
    assert failed(report) == []
    assert report.ok
    assert report.require() is report
    assert report.fingerprint == engine.fingerprint
    assert all(check.detail and not check.hint for check in report.checks)
    assert {"log-probabilities", "no thinking", "prefix reuse"} <= {c.name for c in report.checks}


@model
def test_a_masked_distribution_is_seen(smollm2: GgufEngine) -> None:
    report = report_of(Spoiled(smollm2, renormalised))
    assert "log-probabilities" in failed(report)
    with pytest.raises(CanaryError, match="log-probabilities: mass of unlikely codes 1") as caught:
        report.require()
    assert "raw_logprobs" in caught.value.hint


@model
def test_probabilities_above_one_are_seen(smollm2: GgufEngine) -> None:
    report = report_of(Spoiled(smollm2, lambda values: (-0.5,) * len(values)))
    with pytest.raises(CanaryError, match=r"sum to 6\.\d+"):
        report.require()


@model
@pytest.mark.parametrize("value", [math.nan, 2.0])
def test_invalid_log_probabilities_are_detected(value: float, smollm2: GgufEngine) -> None:
    report = report_of(Spoiled(smollm2, lambda values: (value,) * len(values)))
    assert "log-probabilities" in failed(report)


@model
def test_a_lost_beginning_of_sequence_is_seen(gemma: GgufEngine) -> None:
    report = report_of(Spoiled(gemma, tokenizer=WithoutBos(gemma.tokenizer)))
    assert "beginning of sequence" in failed(report)
    with pytest.raises(CanaryError) as caught:
        report.require()
    assert "add_bos_token" in caught.value.hint


@pytest.mark.parametrize("codes", [[" A", " A B"], [" A", " A"], [" A", ""]])
def test_codes_that_are_not_one_token_each_are_seen(codes: list[str]) -> None:
    report = report_of(ScriptedEngine(answer=" positive"), codes=codes)
    assert "codes are single tokens" in failed(report)


@model
def test_codes_of_a_real_tokenizer(smollm2: GgufEngine) -> None:
    report = report_of(smollm2, codes=[" A", " 好评"])
    (check,) = [c for c in report.checks if c.name == "codes are single tokens"]
    assert not check.ok
    assert "' 好评'" in check.detail


@model
def test_unsteady_readings_are_told_but_allowed(smollm2: GgufEngine) -> None:
    turns = iter(range(1000))
    report = report_of(Spoiled(smollm2, lambda vs: tuple(v - 0.1 * next(turns) for v in vs)))
    (check,) = [c for c in report.checks if c.name == "repeatable"]
    assert not check.ok
    assert not check.required
    assert check.hint


@pytest.mark.parametrize("answer", ["<think>\nLet me see", "\n<|channel|>analysis", " [THINK]"])
def test_thinking_aloud_is_seen(answer: str) -> None:
    assert "no thinking" in failed(report_of(ScriptedEngine(answer=answer)))
    assert "no thinking" not in failed(report_of(ScriptedEngine(answer=" positive")))


def test_a_constraint_that_does_not_bite_is_seen() -> None:
    class Sampling(ScriptedEngine):
        """Samples one word, allowed or not."""

        def __init__(self, word: str) -> None:
            super().__init__(answer=" positive")
            self.word = word

        async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
            assert self.tokenizer is not None
            return self.tokenizer.encode(self.word)[0]

    (check,) = [c for c in report_of(Sampling(" Paris")).checks if c.name == "constraint enforced"]
    assert not check.ok
    assert check.required
    assert check.detail == "sampled ' Paris' under 10 allowed codes"
    assert "allowed_token_ids" in check.hint
    assert "constraint enforced" not in failed(report_of(Sampling(" C")))


@model
def test_a_prompt_cut_in_silence_is_seen(smollm2: GgufEngine) -> None:
    class Cutter(Spoiled):
        async def read(
            self, prompts: Sequence[Prompt], questions: Sequence[Question]
        ) -> list[Reading | EngineError]:
            short = [Prompt(p.text, p.template, p.token_ids[-200:]) for p in prompts]
            return await super().read(short, questions)

    assert "context length" in failed(report_of(Cutter(smollm2)))


def test_an_engine_without_log_probabilities_is_only_told() -> None:
    report = report_of(ScriptedEngine(logprobs=False, answer=" positive"))
    assert failed(report) == ["log-probabilities"]
    assert report.ok


def test_an_engine_that_is_gone_raises() -> None:
    with pytest.raises(EngineUnavailableError):
        report_of(ScriptedEngine(gone=True))


def test_errors_of_a_check_are_that_checks_failure() -> None:
    report = report_of(ScriptedEngine(fails_on="capital of France"))
    assert "log-probabilities" in failed(report)
    (check,) = [c for c in report.checks if c.name == "log-probabilities"]
    assert check.detail == "no answer for this prompt"


def test_a_server_that_is_no_model_fails(fault_server: FaultServer) -> None:
    async def look() -> CanaryReport:
        report = await canary(engine)
        await engine.aclose()
        return report

    engine = VllmEngine(fault_server.url)
    # The canary tokenizes where it runs: not on the loop of the server that is asked.
    report = asyncio.run(look())
    assert not report.ok
    assert "beginning of sequence" in failed(report)


def test_the_first_required_failure_is_raised() -> None:
    checks = (
        Check("speed", False, "slow", "faster", required=False),
        Check("sense", False, "babbles", "fix it"),
        Check("other", False, "bad", "else"),
    )
    report = CanaryReport("gguf:x", "f", checks)
    with pytest.raises(CanaryError, match=r"^gguf:x: sense: babbles \(fix it\)$"):
        report.require()
    assert not report.ok


@model
def test_it_runs_on_any_event_loop(smollm2: GgufEngine) -> None:
    assert asyncio.run(canary(smollm2)).ok
