"""Engines that fail during a run: stopped and restarted, with wrong values, other weights, or slow;
and faults of the machine: clock changes, forks, no file handles left.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import victim
from aiohttp import web
from fault_counts import Faults
from fault_server import STOPPED, FaultServer, answer_of
from scripted import classifier

from ecomfs.batch import score_table
from ecomfs.core import event_loop
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import EngineUnavailableError, JournalError
from ecomfs.pool import Pool
from ecomfs.types import Example, Prompt, Question

pytestmark = [
    pytest.mark.faults,
    # Python 3.12 and later warn of every fork of a process with threads.
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]
ROWS = 120
LOOPBACK = Path(__file__).parents[2] / "eval" / "bench" / "loopback.py"


class ServerProcess:
    """A server that speaks vLLM's protocol, in a process of its own."""

    def __init__(self, tokenizer: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self._tokenizer = tokenizer
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self._port), "--tokenizer", str(self._tokenizer)]
        self._process = subprocess.Popen(
            [sys.executable, str(LOOPBACK), *options], stdout=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    raise AssertionError("the server does not start") from None
                time.sleep(0.05)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Struck(VllmEngine):
    """Something befalls it before its first, second … call. Calls take turns, so that the same rows
    are answered before it in every run."""

    def __init__(
        self, urls: Sequence[str], befalls: Mapping[int, Callable[[], None]], **options: Any
    ) -> None:
        super().__init__(urls, **options)
        self.calls = 0
        self._befalls = befalls
        self._turns: dict[Any, asyncio.Lock] = defaultdict(asyncio.Lock)  # of each event loop

    async def read(self, prompts: Sequence[Prompt], questions: Sequence[Question]) -> Any:
        async with self._turns[asyncio.get_running_loop()]:
            await self._strike()
            return await super().read(prompts, questions)

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> Any:
        async with self._turns[asyncio.get_running_loop()]:
            await self._strike()
            return await super().read_each(prompts, questions)

    async def _strike(self) -> None:
        self.calls += 1
        if strike := self._befalls.get(self.calls):
            await asyncio.to_thread(strike)


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def passes(_: Any) -> None:
    """The servers are no models: the canary would refuse them."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    victim.make_table(tmp_path / "in.csv", ROWS)
    return tmp_path / "in.csv"


@pytest.fixture
def engine_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Struck]]:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    opened: list[Struck] = []

    def at(*urls: str, befalls: Mapping[int, Callable[[], None]] | None = None, **more: Any) -> Any:
        small = {"prompts_per_request": 4, "concurrency": 2, "attempts": 6, "probe_after": 0.0}
        engine = Struck([*urls], befalls or {}, recheck=passes, sleep=no_pause, **{**small, **more})
        opened.append(engine)
        event_loop.run(engine.remember())
        return engine

    yield at
    for engine in opened:
        event_loop.run(engine.aclose())


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    made = [ServerProcess(tmp_path / "tokenizer") for _ in range(2)]
    yield made
    for server in made:
        server.kill()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    made = FaultServer()
    made.models[0]["max_model_len"] = 8192
    event_loop.run(made.start())
    yield made
    event_loop.run(made.stop())


def score(source: Path, output: Path, engine: Any) -> bytes:
    score_table(source, output, classifier(engine).pipeline_, chunk_rows=16, probabilities=True)
    return output.read_bytes()


def test_an_engine_that_dies_and_restarts(
    processes: list[ServerProcess],
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
) -> None:
    only = processes[0]
    whole = score(source, tmp_path / "whole.csv", engine_at(only.url))
    for n in range(2):
        output = tmp_path / f"out{n}.csv"
        with pytest.raises(EngineUnavailableError) as raised:
            score(source, output, engine_at(only.url, befalls={3: only.kill}))
        assert "the same command resumes" in "".join(raised.value.__notes__)
        assert not output.exists()
        only.start()
        assert score(source, output, engine_at(only.url)) == whole
        faults.cost("the only engine dies and returns", output, whole)


def test_one_of_two_engines_that_dies_and_restarts(
    processes: list[ServerProcess],
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
) -> None:
    urls = [one.url for one in processes]
    whole = score(source, tmp_path / "whole.csv", engine_at(*urls))
    for n, dies in enumerate(processes):
        output = tmp_path / f"out{n}.csv"
        befalls = {2: dies.kill, 5: dies.start}
        engine = engine_at(*urls, befalls=befalls)
        assert score(source, output, engine) == whole
        assert engine.calls >= 5
        faults.cost("one engine of two dies and returns", output, whole)


def is_chosen(prompt: Sequence[int]) -> bool:
    """One prompt in nine, always the same ones."""
    return sum(prompt) % 9 == 0


def lies(server: FaultServer, value: float | None) -> None:
    """Say ``value`` of every label after the chosen prompts."""

    async def fault(_: web.Request, body: dict[str, Any]) -> web.Response:
        whole = answer_of(body)
        for prompt, choice in zip(body["prompt"], whole["choices"], strict=True):
            if is_chosen(prompt):
                for top in choice["logprobs"]["top_logprobs"]:
                    top.update(dict.fromkeys(top, value))
        return web.json_response(whole)

    server.mix = lambda: fault


@pytest.mark.parametrize("value", [math.nan, None, math.inf, 0.0], ids=repr)
def test_an_engine_that_returns_wrong_values(
    server: FaultServer,
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
    value: float | None,
) -> None:
    whole = score(source, tmp_path / "whole.csv", engine_at(server.url))
    honest = whole.splitlines()
    lines = []
    for n in range(2):
        cache = ReadingCache(tmp_path / f"readings{n}.sqlite")
        output = tmp_path / f"out{n}.csv"
        engine = engine_at(server.url)
        lies(server, value)
        lines.append(score(source, output, CachedEngine(engine, cache)).splitlines())
        failed = [new for old, new in zip(honest, lines[n], strict=True) if old != new]
        assert failed
        assert all(b"failed" in line and b"no distribution" in line for line in failed)
        faults.cost("NaN and other lies", output, whole, injected=len(failed))
        # Nothing of it was kept: an honest engine with the same cache ends with every row.
        server.mix = lambda: None
        again = tmp_path / f"again{n}.csv"
        assert score(source, again, CachedEngine(engine_at(server.url), cache)) == whole
        cache.close()
    assert lines[0] == lines[1]


@pytest.mark.parametrize("restarted", [False, True])
def test_weights_that_are_swapped_under_the_same_name(
    server: FaultServer,
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
    restarted: bool,
) -> None:
    whole = score(source, tmp_path / "whole.csv", engine_at(server.url))

    def swap(weights: int) -> None:
        if restarted:
            server.stop_now()
        server.weights = weights
        if restarted:
            server.start_again()

    # While it starts, no server answers, and the run may end with an error.
    why = "weights changed under the same name" + ("|connection broke|answers at" * restarted)
    every = math.inf if restarted else 0.0
    for n in range(2):
        output = tmp_path / f"out{n}.csv"
        engine = engine_at(server.url, befalls={3: lambda: swap(1)}, confirm_every=every)
        with pytest.raises(EngineUnavailableError, match=why):
            score(source, output, engine)
        # Rows of the two never stand in one table.
        with pytest.raises(JournalError, match="answers of another run"):
            score(source, output, engine_at(server.url))
        assert not output.exists()
        swap(0)
        assert score(source, output, engine_at(server.url)) == whole
        faults.cost("weights swapped under one name", output, whole)


async def drips(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """A byte now and then, without end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    whole = json.dumps(answer_of(body)).encode()
    place, stopped = 0, request.app[STOPPED]
    while not stopped.is_set() and request.transport is not None:
        await response.write(whole[place : place + 1] or b" ")
        place += 1
        await asyncio.sleep(0.05)
    return response


def test_an_engine_that_answers_byte_by_byte(
    server: FaultServer,
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
) -> None:
    whole = score(source, tmp_path / "whole.csv", engine_at(server.url))
    for n in range(2):
        output = tmp_path / f"out{n}.csv"
        engine = engine_at(server.url, timeout=4.0)
        server.faults = [None, drips, None, drips]
        assert score(source, output, engine) == whole
        assert not server.faults
        faults.cost("answers drip", output, whole, injected=2)


class Jumping:
    """The clock of the machine, which is set again and again; the one that never goes back runs
    on."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta(0)
        real, clock = time.time, self

        class Shifted(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + clock.ahead

        patched.setattr(time, "time", lambda: real() + clock.ahead.total_seconds())
        for module in ("traffic.log", "serve.tables", "pool.store", "batch.runlog"):
            patched.setattr(f"ecomfs.{module}.datetime", Shifted)


JUMPS = [timedelta(days=d) for d in (400, -400, 0.05, -0.05)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Jumping:
    return Jumping(monkeypatch)


def test_clocks_that_jump_during_a_run(
    server: FaultServer,
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
    clock: Jumping,
) -> None:
    whole = score(source, tmp_path / "whole.csv", engine_at(server.url))

    def set_to(ahead: timedelta) -> Callable[[], None]:
        return lambda: setattr(clock, "ahead", ahead)

    for n in range(2):
        output = tmp_path / f"out{n}.csv"
        engine = engine_at(server.url, befalls=dict(enumerate(map(set_to, JUMPS), 2)))
        assert score(source, output, engine) == whole
        assert clock.ahead == JUMPS[-1]
        faults.cost("clock jumps in a run", output, whole, injected=len(JUMPS))


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_clocks_that_jump_end_no_lease_and_hold_none(
    tmp_path: Path, faults: Faults, clock: Jumping, jump: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    from ecomfs.serve import runs as module

    moment = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: moment[0])
    with closing(Pool.open(tmp_path / "pool.db")) as pool:
        one, other = (module.Runs(pool.database, tmp_path) for _ in range(2))
        added = one.add("0" * 32, "shoes", "in.csv", "wen")
        assert one.claim("shoes") is not None
        for step in range(40):  # twenty seconds apart: the run is touched, whatever its time says
            moment[0] += 20
            clock.ahead = jump if step % 2 else timedelta(0)
            one.change(added.id, progress=step / 40)
            assert other.claim("shoes") is None
        moment[0] += 59  # its process was killed
        assert other.claim("shoes") is None
        clock.ahead = jump
        moment[0] += 2
        taken = other.claim("shoes")
        assert taken is not None
        assert taken.id == added.id
        assert one.claim("shoes") is None
    faults.held("clock jumps under a lease", injected=41)


@pytest.mark.parametrize("jump", [-400.0, 6.0], ids=str)
def test_clocks_that_jump_repeat_no_write(
    tmp_path: Path, faults: Faults, clock: Jumping, jump: float
) -> None:
    pytest.importorskip("fastapi")
    from ecomfs.serve.tables import IdempotentWrites

    with closing(Pool.open(tmp_path / "pool.db")) as pool:
        repeats = IdempotentWrites(pool.database)

        def write() -> dict[str, Any]:
            pool.add([Example(f"e{len(pool.examples())}", {"text": "fine"}, "a")])
            return {"version": pool.version}

        first = repeats.once("shop", "key", {"id": 1}, write)
        clock.ahead = timedelta(days=jump)
        assert repeats.once("shop", "key", {"id": 1}, write) == first
        assert repeats.once("shop", "another", {"id": 2}, write) != first
        clock.ahead = timedelta(0)
        assert repeats.once("shop", "key", {"id": 1}, write) == first
        assert [e.id for e in pool.examples()] == ["e0", "e1"]
    faults.held("clock jumps between repeated writes", injected=2)


forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this platform"
)


def forked(target: Callable[..., object], *arguments: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def ended(process: Any) -> None:
    process.join(120)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0


def fork_and_end() -> None:
    """A process that is forked by a thread, as programs that start others do, and ends."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)


@forks
def test_a_fork_with_an_open_engine(
    server: FaultServer,
    engine_at: Callable[..., Struck],
    source: Path,
    tmp_path: Path,
    faults: Faults,
) -> None:
    cache = ReadingCache(tmp_path / "readings.sqlite")
    engine = engine_at(server.url, befalls={3: fork_and_end})
    pipeline = classifier(CachedEngine(engine, cache)).pipeline_
    options: dict[str, Any] = {"chunk_rows": 16, "probabilities": True, "progress": False}
    score_table(source, tmp_path / "first.csv", pipeline, **options)
    whole = (tmp_path / "first.csv").read_bytes()
    assert engine.calls >= 3
    # The readings are there, and others are not: the children read and write the cache.
    cache.discard(engine.fingerprint, some_keys(cache))
    outputs = [tmp_path / f"out{n}.csv" for n in range(2)]
    run = functools.partial(score_table, pipeline=pipeline, **options)
    children = [forked(run, source, output) for output in outputs]
    score_table(source, tmp_path / "parent.csv", pipeline, **options)
    for child in children:
        ended(child)
    assert (tmp_path / "parent.csv").read_bytes() == whole
    for output in outputs:
        faults.cost("fork with an open engine", output, whole)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    cache.close()


def some_keys(cache: ReadingCache) -> list[bytes]:
    with closing(sqlite3.connect(cache.path)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM kept ORDER BY key")][::2]


def add_ten(pool: Pool, name: str) -> None:
    for n in range(10):
        pool.add([Example(f"{name}{n}", {"text": f"{name} {n}"}, "a")])


@forks
def test_a_fork_with_an_open_pool(tmp_path: Path, faults: Faults) -> None:
    with closing(Pool.open(tmp_path / "pool.db")) as pool:
        pool.add([Example("first", {"text": "first"}, "a")])
        children = [forked(add_ten, pool, name) for name in "bc"]
        add_ten(pool, "a")
        for child in children:
            ended(child)
        found = sorted(example.id for example in pool.examples())
        assert found == sorted(["first", *(f"{name}{n}" for name in "abc" for n in range(10))])
        assert pool.version == 31
    faults.held("fork with an open pool", injected=2)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="handles are counted there")
@pytest.mark.parametrize("left", range(14))
def test_no_handles_left(source: Path, tmp_path: Path, faults: Faults, left: int) -> None:
    output, said, log = (tmp_path / name for name in ("out.csv", "said", "log"))
    process = victim.start(victim.score_within, source, output, log, "RLIMIT_NOFILE", left, said)
    process.join(120)
    assert process.exitcode == 0
    if not output.exists():
        assert "\n" not in said.read_text(encoding="utf-8").strip()
    process = victim.start(victim.score, source, tmp_path / "whole.csv", log)
    process.join(120)
    process = victim.start(victim.score, source, output, log)
    process.join(120)
    assert process.exitcode == 0
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    faults.cost("out of handles", output, tmp_path / "whole.csv")
