"""The vLLM client under load: busy servers, servers that stop and restart, mixed faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import fault_server as faults
import pytest
from fault_server import CONTEXT, FaultServer, logprob, mixture

from ecomfs.core import event_loop
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import CanaryError, EngineError, EngineUnavailableError, ModelError
from ecomfs.types import Question, Reading
from prompts import of_tokens

CODES = (11, 12, 13)
Open = Callable[..., VllmEngine]
KINDS = [
    faults.says(429, Retry_After="1"),
    faults.says(500),
    faults.says(503),
    faults.says(408),
    faults.resets,
    faults.cut_short,
    faults.spoils(lambda whole: whole["choices"].pop()),
    faults.spoils(lambda whole: whole["choices"].append(whole["choices"][0])),
]


@pytest.fixture
def other() -> Iterator[FaultServer]:
    """A second server."""
    server = FaultServer()
    event_loop.run(server.start())
    yield server
    event_loop.run(server.stop())


@pytest.fixture
def engine_at() -> Iterator[Open]:
    """Opens engines that do not sleep and, the servers being no models, do not check them."""
    opened: list[VllmEngine] = []

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    async def passes(_: VllmEngine) -> None:
        pass

    def at(*servers: FaultServer, **options: Any) -> VllmEngine:
        options = {"sleep": sleep, "recheck": passes, "probe_after": 0.0, **options}
        opened.append(VllmEngine([s.url for s in servers], **options))
        return opened[-1]

    yield at
    for engine in opened:
        event_loop.run(engine.aclose())


def read(engine: VllmEngine, numbers: range) -> list[Reading | EngineError]:
    return event_loop.run(engine.read([of_tokens(n % 7, n) for n in numbers], [Question(CODES)]))


def right(answers: list[Any], numbers: range) -> bool:
    return all(
        a.logprobs[0] == tuple(logprob((n % 7, n), c) for c in CODES)
        for a, n in zip(answers, numbers, strict=True)
        if isinstance(a, Reading)
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_mix_of_faults_loses_nothing(
    seed: int, fault_server: FaultServer, engine_at: Open
) -> None:
    fault_server.mix = mixture(seed, 0.3, [*KINDS, faults.hangs])
    engine = engine_at(fault_server, prompts_per_request=4, timeout=1.0)
    answers = read(engine, range(200))
    assert right(answers, range(200))
    failed = [a for a in answers if isinstance(a, EngineError)]
    assert all(error.retryable for error in failed)
    # 0.3^5 of fifty requests, and the halves of those are tried once more.
    assert len(failed) <= 4


def test_a_mix_on_two_servers_of_which_one_dies(
    fault_server: FaultServer, other: FaultServer, engine_at: Open
) -> None:
    fault_server.mix, other.mix = mixture(1, 0.3, KINDS), mixture(2, 0.3, KINDS)
    engine = engine_at(fault_server, other, prompts_per_request=4)

    async def halfway() -> list[Any]:
        prompts = [of_tokens(n % 7, n) for n in range(200)]
        reading = asyncio.create_task(engine.read(prompts, [Question(CODES)]))
        while len(other.bodies) < 5:
            await asyncio.sleep(0)
        await other.stop()
        return await reading

    answers = event_loop.run(halfway())
    assert right(answers, range(200))
    assert all(a.retryable for a in answers if isinstance(a, EngineError))
    assert sum(isinstance(a, EngineError) for a in answers) <= 4


def test_a_server_that_always_fails_says_so_for_every_row(
    fault_server: FaultServer, engine_at: Open
) -> None:
    fault_server.mix = mixture(0, 1.0, KINDS[1:2])
    answers = read(engine_at(fault_server, attempts=2, prompts_per_request=4), range(8))
    assert [type(a).__name__ for a in answers] == ["ServerStatusError"] * 8
    assert len(fault_server.bodies) == 2 * (2 + 2)  # tries of a request, and its halves once


@pytest.mark.parametrize("poison", [0, 5, 15])
def test_a_prompt_that_the_server_fails_on_fails_alone(
    poison: int, fault_server: FaultServer, engine_at: Open
) -> None:
    async def chokes(_: Any, body: dict[str, Any]) -> Any:
        if any(ids[-1] == poison for ids in body["prompt"]):
            return faults.web.Response(status=500, text="worker died")
        return None

    fault_server.mix = lambda: chokes
    answers = read(engine_at(fault_server, attempts=2, prompts_per_request=16), range(16))
    assert [i for i, a in enumerate(answers) if isinstance(a, EngineError)] == [poison]
    assert right(answers, range(16))


class TestBusyServer:
    def test_fewer_requests_at_once_until_it_bears_them(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        fault_server.bears = 4
        engine = engine_at(fault_server, prompts_per_request=1, concurrency=32, attempts=50)
        answers = read(engine, range(400))
        assert all(isinstance(a, Reading) for a in answers)
        assert right(answers, range(400))
        # Without backing off, 32 at once would be refused over and over.
        assert fault_server.refused < 200

    def test_a_slow_server_gets_fewer_too(self, fault_server: FaultServer, engine_at: Open) -> None:
        fault_server.faults = [faults.hangs] * 4
        engine = engine_at(fault_server, prompts_per_request=1, concurrency=4, timeout=0.3)
        assert all(isinstance(a, Reading) for a in read(engine, range(4)))
        hanging = fault_server.open_now
        fault_server.most_at_once = 0
        read(engine, range(10, 14))
        assert (hanging, fault_server.most_at_once) == (4, 4 + 2)


class TestSeveralServers:
    def test_the_work_of_a_dead_one_goes_to_the_other(
        self, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        # One attempt: being handed over costs none.
        engine = engine_at(fault_server, other, prompts_per_request=1, attempts=1)
        other.stop_now()
        answers = read(engine, range(30))
        assert all(isinstance(a, Reading) for a in answers)
        assert right(answers, range(30))
        assert len(fault_server.bodies) == 30

    def test_one_that_comes_back_is_used_again(
        self, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        checked: list[str] = []

        async def recheck(engine: VllmEngine) -> None:
            checked.append(engine.spec)

        engine = engine_at(fault_server, other, prompts_per_request=1, recheck=recheck)
        other.stop_now()
        read(engine, range(10))
        other.start_again()
        other.bodies.clear()
        until(lambda: (read(engine, range(10)), other.bodies)[1])
        assert checked == [f"vllm:{other.url}"]

    @pytest.mark.parametrize("change", ["model", "version", "canary"])
    def test_one_that_comes_back_changed_stays_out(
        self, change: str, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        looked: list[str] = []

        async def recheck(_: VllmEngine) -> None:
            looked.append("x")
            raise CanaryError("constrained decoding is not enforced")

        options = {"recheck": recheck} if change == "canary" else {}
        engine = engine_at(fault_server, other, prompts_per_request=1, **options)
        other.stop_now()
        read(engine, range(10))
        if change == "model":
            other.models = [{"id": "small", "root": "another", "max_model_len": CONTEXT}]
        elif change == "version":
            other.version = "0.1"
        other.start_again()
        other.bodies.clear()
        for _ in range(10):
            assert right(read(engine, range(10)), range(10))
        assert other.bodies == []
        assert bool(looked) == (change == "canary")

    def test_the_only_one_is_checked_when_it_comes_back(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        engine = engine_at(fault_server, attempts=1)
        fault_server.stop_now()
        with pytest.raises(EngineUnavailableError):
            read(engine, range(3))
        fault_server.version = "0.1"
        fault_server.start_again()
        with pytest.raises(EngineUnavailableError, match=r"is not used: .*different models"):
            read(engine, range(3))
        fault_server.version = "0.0.test"
        assert right(read(engine, range(3)), range(3))

    def test_one_that_only_fails_is_taken_out(
        self, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        other.mix = lambda: faults.says(500)
        engine = engine_at(
            fault_server, other, prompts_per_request=1, concurrency=1, probe_after=3600.0
        )
        answers = read(engine, range(40))
        assert all(isinstance(a, Reading) for a in answers)
        assert len(other.bodies) == 3

    @pytest.mark.parametrize("difference", ["root", "version"])
    def test_servers_of_different_models_are_refused(
        self, difference: str, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        if difference == "root":
            other.models = [{"id": "small", "root": "another", "max_model_len": CONTEXT}]
        else:
            other.version = "0.1"
        with pytest.raises(ModelError, match="different models"):
            engine_at(fault_server, other)

    def test_the_shortest_context_counts(
        self, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        other.models[0]["max_model_len"] = CONTEXT // 2
        assert engine_at(fault_server, other).capabilities.context_tokens == CONTEXT // 2

    def test_each_is_an_engine_of_its_own(
        self, fault_server: FaultServer, other: FaultServer, engine_at: Open
    ) -> None:
        engine = engine_at(fault_server, other, fault_server)
        first, second = engine.per_server()
        assert (first.spec, second.spec) == (f"vllm:{fault_server.url}", f"vllm:{other.url}")
        assert first.fingerprint == engine.fingerprint
        assert right(read(second, range(3)), range(3))
        assert (len(fault_server.bodies), len(other.bodies)) == (0, 1)
        for one in (first, second):
            event_loop.run(one.aclose())


def until(condition: Callable[[], Any], tries: int = 200) -> None:
    """Repeat until it holds; a probe runs concurrently with the requests."""
    assert any(condition() for _ in range(tries))
