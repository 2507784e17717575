"""Servers whose weights change under one name, and models checked once per machine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, spoils
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core import event_loop
from ecomfs.engine import canary as canary_module
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.canary import near, probe_of, same_model, with_probe
from ecomfs.engine.shared import canary_reports, close_shared, shared_engine
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import CanaryError, EngineError, EngineUnavailableError, ModelError
from ecomfs.types import Question, Reading
from prompts import of_tokens

Make = Callable[..., VllmEngine]
ASK = [Question((11, 12))]


@given(st.lists(st.floats(-99, 0), min_size=1, max_size=6), st.floats(-0.2, 0.2))
def test_readings_that_differ_a_little_are_of_one_model(values: list[float], noise: float) -> None:
    one, other = probe_of(values), probe_of([value + noise for value in values])
    assert near(one, other)
    assert same_model(with_probe("vllm-1", one), with_probe("vllm-1", other))
    far = probe_of([values[0] - 0.6, *values[1:]])
    assert not same_model(with_probe("vllm-1", one), with_probe("vllm-1", far))
    assert not same_model(with_probe("vllm-1", one), with_probe("vllm-2", one))


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[FaultServer]]:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    made = [FaultServer(), FaultServer()]
    for server in made:
        server.models[0]["max_model_len"] = 8192
        event_loop.run(server.start())
    yield made
    for server in made:
        event_loop.run(server.stop())


@pytest.fixture
def engine_at() -> Iterator[Make]:
    opened: list[VllmEngine] = []

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    async def passes(_: Any) -> None:
        """The servers are no models: the canary would refuse them."""

    def at(*servers: FaultServer, **options: Any) -> VllmEngine:
        urls = [server.url for server in servers]
        options = {"recheck": passes, "probe_after": 3600.0, "attempts": 2, **options}
        opened.append(VllmEngine(urls, sleep=sleep, **options))
        event_loop.run(opened[-1].remember())
        return opened[-1]

    yield at
    for engine in opened:
        event_loop.run(engine.aclose())


def read(engine: Any, *tokens: int) -> Any:
    return event_loop.run(engine.read([of_tokens(*tokens)], ASK))[0]


def swapped(server: FaultServer, weights: int, *, again: bool = True) -> None:
    """Other weights under the same name and address."""
    if again:
        server.stop_now()
    server.weights = weights
    if again:
        server.start_again()


def test_the_fingerprint_follows_the_weights(servers: list[FaultServer], engine_at: Make) -> None:
    first, same = engine_at(servers[0]), engine_at(servers[1])
    assert first.fingerprint == same.fingerprint
    servers[1].weights = 1
    other = engine_at(servers[1])
    assert other.fingerprint != first.fingerprint
    assert not same_model(other.fingerprint, first.fingerprint)
    with pytest.raises(ModelError, match="different weights under one name"):
        engine_at(*servers)


def test_a_swap_is_noticed_when_a_server_comes_back(
    servers: list[FaultServer], engine_at: Make
) -> None:
    engine = engine_at(servers[0])
    good = read(engine, 1, 2)
    assert isinstance(good, Reading)
    swapped(servers[0], 1)
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match="weights changed under the same name"):
            read(engine, 1, 2)
    assert engine.swapped
    swapped(servers[0], 0)
    assert read(engine, 1, 2).logprobs == good.logprobs


def test_a_swap_behind_an_open_connection_is_noticed_by_the_next_check(
    servers: list[FaultServer], engine_at: Make
) -> None:
    engine = engine_at(servers[0], confirm_every=0.0)
    assert isinstance(read(engine, 1), Reading)
    assert engine.confirmed > 0
    swapped(servers[0], 1, again=False)
    with pytest.raises(EngineUnavailableError, match="weights changed"):
        read(engine, 2)


def test_rows_go_to_the_server_that_is_what_it_was(
    servers: list[FaultServer], engine_at: Make
) -> None:
    engine = engine_at(*servers, prompts_per_request=1)
    good = [read(engine, n, 5).logprobs for n in range(6)]
    swapped(servers[0], 1)
    assert [read(engine, n, 5).logprobs for n in range(6)] == good
    assert engine.swapped


def test_readings_since_the_last_check_leave_the_cache(
    servers: list[FaultServer], engine_at: Make, tmp_path: Path
) -> None:
    engine = engine_at(servers[0], confirm_every=math.inf)
    cached = CachedEngine(engine, ReadingCache(tmp_path / "readings.sqlite"))
    read(cached, 1)
    swapped(servers[0], 1, again=False)
    read(cached, 2)  # of the other weights, and kept
    assert len(cached.cache) == 2
    swapped(servers[0], 1)
    with pytest.raises(EngineUnavailableError):
        read(cached, 3)
    assert len(cached.cache) == 0
    cached.cache.close()


def test_a_check_that_passes_lets_the_cache_keep_what_was_read(
    servers: list[FaultServer], engine_at: Make, tmp_path: Path
) -> None:
    engine = engine_at(servers[0], confirm_every=0.0)
    cached = CachedEngine(engine, ReadingCache(tmp_path / "readings.sqlite"))
    read(cached, 1)
    read(cached, 2)  # checked before it is asked
    swapped(servers[0], 1, again=False)
    with pytest.raises(EngineUnavailableError):
        read(cached, 3)
    assert len(cached.cache) >= 1
    cached.cache.close()


def test_the_only_server_is_checked_after_three_bad_readings_and_stops_the_run(
    servers: list[FaultServer], engine_at: Make
) -> None:
    asked: list[int] = []

    async def canary(_: Any) -> None:
        asked.append(len(servers[0].bodies))
        if len(asked) > 1:
            raise EngineError("log-probabilities: NaN", hint="fix it")

    def lie(answer: dict[str, Any]) -> None:
        for choice in answer["choices"]:
            for top in choice["logprobs"]["top_logprobs"]:
                top.update(dict.fromkeys(top, None))

    engine = engine_at(servers[0], recheck=canary, confirm_every=math.inf)
    read(engine, 9)  # the connection is open
    engine._probe = ()  # what lies cannot be compared
    servers[0].mix = lambda: spoils(lie)
    kinds = [type(read(engine, n)).__name__ for n in range(9)]
    assert kinds == ["InvalidLogprobsError"] * 9
    assert len(asked) == 1
    with pytest.raises(EngineUnavailableError, match="is not used: log-probabilities: NaN"):
        read(engine, 1)


@pytest.mark.model
class TestInThisProcess:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
        close_shared()
        yield
        close_shared()

    def test_a_model_is_checked_once_on_a_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = shared_engine("gguf:smollm2")
        (report,) = canary_reports("gguf:smollm2")
        assert report.ok
        assert report.fingerprint == engine.fingerprint
        close_shared()
        monkeypatch.setattr(canary_module, "_SURE", 2.0)  # no model would pass now
        shared_engine("gguf:smollm2")
        assert canary_reports("gguf:smollm2") == (report,)

    def test_a_model_that_fails_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(canary_module, "_SURE", 2.0)
        for _ in range(2):
            with pytest.raises(CanaryError, match="beginning of sequence"):
                shared_engine("gguf:smollm2")
        assert canary_reports("gguf:smollm2") == ()
