"""The client of a vLLM server, against a server that fails in every way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_server as faults
import pytest
from fault_server import CONTEXT, FaultServer, logprob

from ecomfs.core import event_loop
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.protocol import Engine, Sampling, SupportsTokenConstraint
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import (
    ConfigError,
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelError,
)
from ecomfs.types import Generation, Prompt, Question, Reading
from prompts import TEMPLATE, of_tokens

Open = Callable[..., VllmEngine]
CODES = (11, 12, 13)


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def engine_at(pauses: list[float]) -> Iterator[Open]:
    """Opens engines that note their pauses instead of sleeping."""
    opened: list[VllmEngine] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def at(*servers: FaultServer | str, **options: Any) -> VllmEngine:
        urls = [s if isinstance(s, str) else s.url for s in servers]
        opened.append(VllmEngine(urls, sleep=sleep, **options))
        return opened[-1]

    yield at
    for engine in opened:
        event_loop.run(engine.aclose())


def read(engine: VllmEngine, *prompts: Prompt, codes: tuple[int, ...] = CODES) -> list[Any]:
    return event_loop.run(engine.read(prompts, [Question(codes)]))


def expected(*ids: int, codes: tuple[int, ...] = CODES) -> tuple[float, ...]:
    return tuple(logprob(ids, code) for code in codes)


def test_it_is_an_engine(fault_server: FaultServer, engine_at: Open) -> None:
    engine = engine_at(fault_server)
    assert isinstance(engine, Engine)
    assert isinstance(engine, SupportsTokenConstraint)
    assert engine.spec == f"vllm:{fault_server.url}"
    assert engine.capabilities.context_tokens == CONTEXT
    assert engine.fingerprint.endswith("-0.0.test")


def test_every_prompt_gets_its_own_answer_in_order(
    fault_server: FaultServer, engine_at: Open
) -> None:
    engine = engine_at(fault_server, prompts_per_request=3)
    prompts = [of_tokens(n % 5 + 1, 50 - n) for n in range(20)]
    answers = read(engine, *prompts)
    assert [a.logprobs[0] for a in answers] == [expected(*p.token_ids) for p in prompts]
    assert [len(b["prompt"]) for b in fault_server.bodies] == [3] * 6 + [2]
    assert [a.prompt_tokens for a in answers] == [2] * 20


def test_what_the_request_asks_for(fault_server: FaultServer, engine_at: Open) -> None:
    read(engine_at(fault_server), of_tokens(1, 2))
    (body,) = fault_server.bodies
    assert body == {
        "model": "small",
        "prompt": [[1, 2]],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 3,
        "logprob_token_ids": list(CODES),
        "allowed_token_ids": list(CODES),
        "return_tokens_as_token_ids": True,
    }


def test_equal_prefixes_travel_together(fault_server: FaultServer, engine_at: Open) -> None:
    engine = engine_at(fault_server, prompts_per_request=2, concurrency=1)
    read(engine, of_tokens(1, 1), of_tokens(9, 9), of_tokens(1, 2), of_tokens(9, 8))
    assert [b["prompt"] for b in fault_server.bodies] == [[[1, 1], [1, 2]], [[9, 8], [9, 9]]]


def test_prompts_with_codes_of_their_own_travel_together(
    fault_server: FaultServer, engine_at: Open
) -> None:
    engine = engine_at(fault_server, prompts_per_request=4)
    prompts = [of_tokens(n + 1) for n in range(8)]
    own = [[Question((20 + n, 30 + n))] for n in range(7)]
    own.append([Question((20, 27)), Question((5, 6), suffix=(9,))])
    answers = event_loop.run(engine.read_each(prompts, own))
    for answer, prompt, asked in zip(answers, prompts, own, strict=True):
        assert isinstance(answer, Reading), answer
        for found, question in zip(answer.logprobs, asked, strict=True):
            ids = (*prompt.token_ids, *question.suffix)
            assert found == expected(*ids, codes=question.codes)
    assert sorted(len(b["prompt"]) for b in fault_server.bodies) == [1, 4, 4]


def test_a_prompt_that_fails_leaves_the_others_their_answers(
    fault_server: FaultServer, engine_at: Open
) -> None:
    engine = engine_at(fault_server)
    prompts = [of_tokens(1), of_tokens(*[2] * CONTEXT), of_tokens(3)]
    own = [[Question((20,))], [Question((21,))], [Question((22,), suffix=(7,))]]
    first, long, last = event_loop.run(engine.read_each(prompts, own))
    assert isinstance(long, ContextOverflowError)
    assert isinstance(first, Reading)
    assert isinstance(last, Reading)
    assert last.logprobs == (expected(3, 7, codes=(22,)),)


def test_many_codes_need_several_looks(fault_server: FaultServer, engine_at: Open) -> None:
    codes = tuple(range(300))
    (answer,) = read(engine_at(fault_server), of_tokens(5), codes=codes)
    assert answer.logprobs[0] == expected(5, codes=codes)
    assert [len(b["logprob_token_ids"]) for b in fault_server.bodies] == [128, 128, 44]


def test_questions_with_and_without_suffix(fault_server: FaultServer, engine_at: Open) -> None:
    engine = engine_at(fault_server)
    questions = [Question((11, 12)), Question((13,), (7, 8)), Question((12,))]
    (answer,) = event_loop.run(engine.read([of_tokens(5)], questions))
    assert answer == Reading(
        (expected(5, codes=(11, 12)), expected(5, 7, 8, codes=(13,)), expected(5, codes=(12,))),
        prompt_tokens=1,
        cached_tokens=1,
    )
    assert len(fault_server.bodies) == 2


def test_cached_tokens_are_the_last_prompts_of_a_request(
    fault_server: FaultServer, engine_at: Open
) -> None:
    engine = engine_at(fault_server)
    answers = read(engine, of_tokens(*range(20)), of_tokens(*range(21)))
    assert [a.cached_tokens for a in answers] == [0, 16]
    assert event_loop.run(engine.cache_counters()) == (75, 100)


def test_nothing_to_read(fault_server: FaultServer, engine_at: Open) -> None:
    assert read(engine_at(fault_server)) == []
    assert fault_server.bodies == []


def test_generation(fault_server: FaultServer, engine_at: Open) -> None:
    engine = engine_at(fault_server)
    prompts = [of_tokens(1, 2, 3), of_tokens(4), of_tokens(*[1] * CONTEXT)]
    answers = event_loop.run(engine.generate(prompts, max_tokens=4, stop=["\n"]))
    assert answers[:2] == [Generation(" text 3", 3, 0), Generation(" text 1", 1, 16)] or answers[
        :2
    ] == [Generation(" text 3", 3, 16), Generation(" text 1", 1, 0)]
    assert isinstance(answers[2], ContextOverflowError)
    assert fault_server.bodies[0]["stop"] == ["\n"]
    assert fault_server.bodies[0]["temperature"] == 0


def test_a_drawn_text_names_temperature_and_seed(
    fault_server: FaultServer, engine_at: Open
) -> None:
    sampling = Sampling(temperature=0.8, seed=7)
    event_loop.run(
        engine_at(fault_server).generate([of_tokens(1)], max_tokens=4, sampling=sampling)
    )
    (body,) = fault_server.bodies
    assert (body["temperature"], body["seed"]) == (0.8, 7)


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (-1.0, 0), (9.0, 0), (1.0, -1)])
def test_sampling_that_cannot_be(temperature: float, seed: int) -> None:
    with pytest.raises(ConfigError):
        Sampling(temperature, seed)


def test_a_pick_is_the_sampled_token(fault_server: FaultServer, engine_at: Open) -> None:
    engine = engine_at(fault_server)
    picked = event_loop.run(engine.pick(of_tokens(1), CODES))
    assert picked == max(CODES, key=lambda code: logprob((1,), code))


def test_requests_in_flight_are_bounded(fault_server: FaultServer, engine_at: Open) -> None:
    engine = engine_at(fault_server, prompts_per_request=1, concurrency=3)
    three = asyncio.Event()

    async def waits_for_three(_: object, __: object) -> None:
        if fault_server.open_now == 3:
            three.set()
        await three.wait()

    fault_server.mix = lambda: waits_for_three
    read(engine, *[of_tokens(n) for n in range(30)])
    assert fault_server.most_at_once == 3


class TestFaultsThatPass:
    @pytest.mark.parametrize(
        "fault",
        [
            faults.says(429),
            faults.says(408),
            faults.says(409),
            faults.says(425),
            faults.says(500),
            faults.says(503),
            faults.resets,
            faults.cut_short,
            faults.spoils(lambda whole: whole["choices"].pop()),
            faults.spoils(lambda whole: whole["choices"].append(whole["choices"][0])),
            faults.spoils(lambda whole: whole["choices"][0].update(index=7)),
            faults.spoils(lambda whole: whole.pop("choices")),
        ],
    )
    def test_the_request_is_repeated(
        self, fault: Any, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [fault, fault]
        answers = read(engine_at(fault_server), of_tokens(1), of_tokens(2))
        assert [a.logprobs[0] for a in answers] == [expected(1), expected(2)]
        assert len(fault_server.bodies) == 3
        assert len(pauses) == 2

    def test_a_time_out(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [faults.hangs]
        (answer,) = read(engine_at(fault_server, timeout=0.2), of_tokens(1))
        assert answer.logprobs[0] == expected(1)
        assert len(pauses) == 1

    def test_retry_after_is_honoured(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [faults.says(429, Retry_After="17")]
        (answer,) = read(engine_at(fault_server), of_tokens(1))
        assert isinstance(answer, Reading)
        assert 17 <= pauses[0] < 18

    def test_too_long_a_retry_after_is_not_waited_for(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [faults.says(503, Retry_After="3600")]
        (answer,) = read(engine_at(fault_server), of_tokens(1))
        assert isinstance(answer, EngineError)
        assert answer.retryable
        assert pauses == []


class TestFaultsThatStay:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (faults.says(500, "out of memory"), EngineError),
            (faults.cut_short, EngineResponseError),
            (faults.spoils(lambda whole: whole["choices"].pop()), EngineResponseError),
        ],
    )
    def test_repetitions_end(
        self, fault: Any, kind: type[EngineError], fault_server: FaultServer, engine_at: Open
    ) -> None:
        fault_server.faults = [fault] * 3
        (answer,) = read(engine_at(fault_server, attempts=3), of_tokens(1))
        assert isinstance(answer, kind)
        assert answer.retryable
        assert len(fault_server.bodies) == 3

    def test_one_request_fails_and_the_others_do_not(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        fault_server.faults = [faults.says(500)]
        engine = engine_at(fault_server, attempts=1, prompts_per_request=1, concurrency=1)
        first, second = read(engine, of_tokens(1), of_tokens(2))
        assert isinstance(first, EngineError)
        assert second.logprobs[0] == expected(2)

    def test_the_error_has_the_servers_message(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        fault_server.faults = [faults.says(500, "CUDA\nout of memory" + "x" * 999)]
        (answer,) = read(engine_at(fault_server, attempts=1), of_tokens(1))
        assert "HTTP 500: CUDA out of memory" in answer.message
        assert "\n" not in answer.message
        assert len(answer.message) < 300

    def test_a_time_out_is_reported(self, fault_server: FaultServer, engine_at: Open) -> None:
        fault_server.faults = [faults.hangs]
        (answer,) = read(engine_at(fault_server, attempts=1, timeout=0.2), of_tokens(1))
        assert isinstance(answer, EngineTimeoutError)
        assert "0.2 s" in answer.message

    def test_an_answer_that_ignores_the_constraint_is_rejected(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        def other(whole: dict[str, Any]) -> None:
            whole["choices"][0]["logprobs"]["tokens"] = ["token_id:999"]

        fault_server.faults = [faults.spoils(other)]
        (answer,) = read(engine_at(fault_server), of_tokens(1))
        assert isinstance(answer, EngineResponseError)
        assert "allowed_token_ids" in answer.message
        assert not answer.retryable
        assert pauses == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda whole: whole["choices"][0]["logprobs"]["top_logprobs"][0].popitem(),
            lambda whole: whole["choices"][0].update(logprobs=None),
            lambda whole: whole["choices"][0]["logprobs"].update(top_logprobs=[{" A": -1.0}]),
            lambda whole: whole["choices"][0]["logprobs"].update(top_logprobs=[]),
        ],
    )
    def test_missing_log_probabilities_are_never_made_up(
        self, change: Any, fault_server: FaultServer, engine_at: Open
    ) -> None:
        fault_server.faults = [faults.spoils(change)]
        (answer,) = read(engine_at(fault_server), of_tokens(1))
        assert isinstance(answer, EngineResponseError)
        assert "logprob_token_ids" in answer.hint
        assert len(fault_server.bodies) == 1


class TestOneBadPrompt:
    def test_a_long_one_is_not_sent(self, fault_server: FaultServer, engine_at: Open) -> None:
        long = of_tokens(*[1] * CONTEXT)
        first, second = read(engine_at(fault_server), long, of_tokens(2))
        assert isinstance(first, ContextOverflowError)
        assert "--max-model-len" in first.hint
        assert second.logprobs[0] == expected(2)

    def test_the_longest_that_fits(self, fault_server: FaultServer, engine_at: Open) -> None:
        (answer,) = read(engine_at(fault_server), of_tokens(*[1] * (CONTEXT - 1)))
        assert answer.logprobs[0] == expected(*[1] * (CONTEXT - 1))

    def test_one_that_the_server_refuses(self, fault_server: FaultServer, engine_at: Open) -> None:
        fault_server.faults = [faults.refuses_token(777)] * 4
        answers = read(engine_at(fault_server), of_tokens(1), of_tokens(777), of_tokens(2))
        assert answers[0].logprobs[0] == expected(1)
        assert answers[2].logprobs[0] == expected(2)
        assert isinstance(answers[1], EngineError)
        assert "out of vocabulary" in answers[1].message
        assert not answers[1].retryable
        assert len(fault_server.bodies) == 3


class TestNobodyThere:
    def test_at_the_start(self, engine_at: Open) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with pytest.raises(EngineUnavailableError, match="no server answers") as caught:
            engine_at(f"http://127.0.0.1:{port}")
        assert "ecomfs up" in caught.value.hint

    def test_later(self, fault_server: FaultServer, engine_at: Open) -> None:
        engine = engine_at(fault_server, attempts=2)
        fault_server.stop_now()
        with pytest.raises(EngineUnavailableError, match="no server answers"):
            read(engine, of_tokens(1), of_tokens(2))
        with pytest.raises(EngineUnavailableError, match="no server answers"):
            event_loop.run(engine.generate([of_tokens(1)], max_tokens=1))
        assert event_loop.run(engine.cache_counters()) is None

    def test_one_of_two(self, fault_server: FaultServer, engine_at: Open) -> None:
        other = FaultServer()
        event_loop.run(other.start())
        engine = engine_at(other, fault_server, prompts_per_request=1)
        other.stop_now()
        answers = read(engine, *[of_tokens(n) for n in range(12)])
        assert [a.logprobs[0] for a in answers] == [expected(n) for n in range(12)]

    def test_another_program(self, fault_server: FaultServer, engine_at: Open) -> None:
        with pytest.raises(EngineResponseError, match="HTTP 404"):
            engine_at(f"{fault_server.url}/else")

    def test_closed(self, fault_server: FaultServer, engine_at: Open) -> None:
        engine = engine_at(fault_server)
        read(engine, of_tokens(1))
        event_loop.run(engine.aclose())
        event_loop.run(engine.aclose())
        with pytest.raises(EngineUnavailableError, match="closed"):
            read(engine, of_tokens(1))


def test_both_of_two_servers_are_used(fault_server: FaultServer, engine_at: Open) -> None:
    other = FaultServer()
    event_loop.run(other.start())
    try:
        engine = engine_at(fault_server, other, prompts_per_request=1, concurrency=4)
        read(engine, *[of_tokens(n) for n in range(20)])
        assert len(fault_server.bodies) + len(other.bodies) == 20
        assert min(len(fault_server.bodies), len(other.bodies)) >= 5
        other.models = [{"id": "another"}]
        with pytest.raises(ModelError, match="different models"):
            engine_at(fault_server, other)
    finally:
        event_loop.run(other.stop())


class TestModel:
    def test_one_that_is_not_served(self, fault_server: FaultServer, engine_at: Open) -> None:
        with pytest.raises(ModelError, match="does not serve 'large'") as caught:
            engine_at(fault_server, model="large")
        assert "small" in caught.value.hint

    def test_one_of_several(self, fault_server: FaultServer, engine_at: Open) -> None:
        fault_server.models.append({"id": "adapter", "root": None, "max_model_len": 32})
        engine = engine_at(fault_server, model="adapter")
        read(engine, of_tokens(1))
        assert fault_server.bodies[0]["model"] == "adapter"
        assert engine.fingerprint != engine_at(fault_server).fingerprint

    def test_none(self, fault_server: FaultServer, engine_at: Open) -> None:
        fault_server.models = []
        with pytest.raises(EngineResponseError, match="names no model"):
            engine_at(fault_server)


class TestKey:
    def test_a_wrong_key_is_an_error_at_once(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.key = "right"
        with pytest.raises(EngineUnavailableError, match="refuses the API key") as caught:
            engine_at(fault_server, api_key="wrong-key")
        assert "wrong-key" not in str(caught.value)
        assert "ECOMFS_VLLM_API_KEY" in caught.value.hint

    def test_one_that_is_withdrawn_later(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        engine = engine_at(fault_server)
        fault_server.key = "new"
        with pytest.raises(EngineUnavailableError, match="refuses the API key"):
            read(engine, of_tokens(1))
        assert pauses == []

    def test_from_the_environment(
        self, fault_server: FaultServer, engine_at: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fault_server.key = "right"
        monkeypatch.setenv("ECOMFS_VLLM_API_KEY", "right")
        (answer,) = read(engine_at(fault_server), of_tokens(1))
        assert isinstance(answer, Reading)


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host", "http://", "host"])
def test_invalid_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        VllmEngine(url)


def test_no_address_at_all() -> None:
    with pytest.raises(ConfigError):
        VllmEngine([])


class TestRemoteTokenizer:
    def test_bos_is_what_the_server_puts_first(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        tokenizer = engine_at(fault_server).tokenizer
        assert tokenizer.encode("ab") == [107, 108]
        assert tokenizer.encode("ab", bos=True) == [1, 107, 108]
        assert tokenizer.encode("") == []
        assert tokenizer.decode([107, 108]) == "ab"

    def test_control_tokens_are_cut(self, fault_server: FaultServer, engine_at: Open) -> None:
        tokenizer = engine_at(fault_server).tokenizer
        ids = tokenizer.encode("x<bos>y")
        assert 1 not in ids  # the server would have read <bos> as one token
        assert tokenizer.decode(ids) == "x<bos>y"

    def test_a_prompt_without_tokens_is_encoded(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        read(engine_at(fault_server), Prompt("ab", TEMPLATE))
        assert fault_server.bodies[0]["prompt"] == [[1, 107, 108]]


def test_an_engine_serves_several_event_loops(fault_server: FaultServer, engine_at: Open) -> None:
    import asyncio

    engine = engine_at(fault_server)
    (first,) = read(engine, of_tokens(1))
    (second,) = asyncio.run(_read_and_close(engine))
    assert first.logprobs == second.logprobs


async def _read_and_close(engine: VllmEngine) -> list[Any]:
    answers = await engine.read([of_tokens(1)], [Question(CODES)])
    await engine.aclose()
    return list(answers)


def test_a_salt_goes_with_every_request_and_the_readings_of_two_salts_are_apart(
    engine_at: Open, fault_server: FaultServer, tmp_path: Path
) -> None:
    cache = ReadingCache(tmp_path / "readings.sqlite")
    one, two = (CachedEngine(engine_at(fault_server, cache_salt=s), cache) for s in ("a", "b"))
    for engine in (one, two, one):
        assert event_loop.run(engine.read([of_tokens(1, 2)], [Question(CODES)]))
    assert [body["cache_salt"] for body in fault_server.bodies] == ["a", "b"]
    assert (one.hits, two.hits) == (1, 0)
    plain = CachedEngine(engine_at(fault_server), cache)
    event_loop.run(plain.read([of_tokens(1, 2)], [Question(CODES)]))
    assert "cache_salt" not in fault_server.bodies[-1]
    assert plain.hits == 0


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="ECOMFS_VLLM_API_KEY") as caught:
        VllmEngine("http://shop:hunter2@127.0.0.1:8000")
    assert "hunter2" not in str(caught.value)
