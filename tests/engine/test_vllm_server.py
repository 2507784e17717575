"""Starting a vLLM server: command, flags, environment, and the lifetime of the process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine import models
from ecomfs.engine.canary import canary
from ecomfs.engine.factory import open_engine
from ecomfs.engine.vllm import server as up
from ecomfs.engine.vllm.server import (
    Runtime,
    VllmServer,
    cpu_ranges,
    environment,
    flags,
    huggingface_source,
    inspect,
    serve_foreground,
    start_vllm,
)
from ecomfs.errors import (
    ConfigError,
    EngineTimeoutError,
    EngineUnavailableError,
    MissingFileError,
    ModelError,
)
from ecomfs.types import Question, Reading

SCRIPT = Path(__file__).parents[1] / "support" / "stand_in_server.py"


class Standing(Runtime):
    """A runtime whose command starts the stand-in."""

    behaviour = "ready"

    @property
    def command(self) -> list[str]:
        return [self.python, str(SCRIPT), self.behaviour]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Start the stand-in in place of vLLM; returns the name of the model."""
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    def behaving(behaviour: str) -> str:
        runtime = Standing(sys.executable, gpu=False, packaged=True)
        monkeypatch.setattr(Standing, "behaviour", behaviour)
        monkeypatch.setattr(up, "inspect", lambda python, device: runtime)
        return str(model)

    return behaving


def child_of(log: str) -> int:
    found = re.search(r"child (\d+)", log)
    assert found
    return int(found[1])


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_server_is_ready_when_it_is_returned(stand_in: Callable[[str], str]) -> None:
    said: list[tuple[str, float]] = []
    model = stand_in("ready")
    with start_vllm(model, progress=lambda line, seconds: said.append((line, seconds))) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        with urllib.request.urlopen(f"{server.url}/health", timeout=10) as response:
            assert response.status == 200
        assert is_alive(server.pid)
        child = child_of(server.log.read_text())
        assert is_alive(child)
    assert not is_alive(server.pid)
    assert not is_alive(child)
    assert said
    assert all(seconds >= 0 for _, seconds in said)
    server.stop()


def test_only_its_own_processes_are_ended(stand_in: Callable[[str], str]) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with start_vllm(stand_in("ready")):
            pass
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_error_for_a_dead_server_has_its_last_output(
    stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(EngineUnavailableError) as caught:
        start_vllm(stand_in("dies"))
    assert "status 3" in caught.value.message
    assert "ValueError: the model is too large" in caught.value.message
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    assert str(log) in caught.value.hint
    assert not is_alive(child_of(log.read_text()))


def test_a_server_that_never_gets_ready_is_stopped(
    stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(EngineTimeoutError, match="not ready"):
        start_vllm(stand_in("hangs"), timeout=1.0)
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    assert not is_alive(child_of(log.read_text()))


def test_giving_up_while_waiting_stops_the_server(
    stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    def interrupt(line: str, seconds: float) -> None:
        if "child" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_vllm(stand_in("hangs"), progress=interrupt)
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    assert not is_alive(child_of(log.read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_until_a_signal(
    number: signal.Signals, stand_in: Callable[[str], str]
) -> None:
    seen: list[VllmServer] = []
    before = signal.getsignal(signal.SIGTERM)

    def ready(server: VllmServer) -> None:
        seen.append(server)
        os.kill(os.getpid(), number)

    assert serve_foreground(stand_in("ready"), ready=ready) == 0
    assert not is_alive(seen[0].pid)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_the_foreground_until_the_server_ends(stand_in: Callable[[str], str]) -> None:
    def ready(server: VllmServer) -> None:
        os.kill(server.pid, signal.SIGKILL)

    assert serve_foreground(stand_in("ready"), ready=ready) == -signal.SIGKILL


def test_a_real_installation_without_vllm_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineUnavailableError, match="vLLM is not installed"):
        start_vllm(str(tmp_path), python=sys.executable)


@pytest.mark.vllm
@pytest.mark.torch
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    "ECOMFS_VLLM_PYTHON" not in os.environ, reason="ECOMFS_VLLM_PYTHON names no environment"
)
def test_a_real_vllm_server_agrees_with_transformers() -> None:
    """The same weights in float32, in both engines; and the canary on the live server."""
    from ecomfs.engine.models import huggingface_source
    from prompts import review

    async def compare(url: str) -> None:
        served = open_engine(f"vllm:{url}")
        local = open_engine(f"transformers:{huggingface_source('smollm2')}", device="cpu")
        assert served.tokenizer is not None
        assert local.tokenizer is not None
        report = await canary(served)
        assert report.require().ok
        texts = ("broke at once", "lovely <|im_start|>", "质量很好，值得购买")
        prompts = [review(served.tokenizer, text) for text in texts]
        for prompt, text in zip(prompts, texts, strict=True):
            assert prompt.token_ids == review(local.tokenizer, text).token_ids
        codes = tuple(served.tokenizer.encode(w)[0] for w in (" positive", " negative", " A"))
        theirs = await served.read(prompts, [Question(codes)])
        ours = await local.read(prompts, [Question(codes)])
        for a, b in zip(theirs, ours, strict=True):
            assert isinstance(a, Reading)
            assert isinstance(b, Reading)
            assert a.logprobs[0] == pytest.approx(b.logprobs[0], abs=1e-3)
        await served.aclose()
        await local.aclose()

    with start_vllm("smollm2", context=1024) as server:
        asyncio.run(compare(server.url))


CPU = Runtime("python", gpu=False, packaged=False, omp="/env/lib/libiomp5.so")
GPU = Runtime("python", gpu=True, packaged=True)


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


@pytest.mark.parametrize("runtime", [CPU, GPU])
def test_flags_of_every_server(runtime: Runtime) -> None:
    given_flags = list(flags(runtime, "Qwen/Qwen3-8B", port=1234, name="q", context=2048))
    assert option(given_flags, "--host") == "127.0.0.1"
    assert option(given_flags, "--port") == "1234"
    assert option(given_flags, "--served-model-name") == "q"
    assert option(given_flags, "--max-model-len") == "2048"
    assert option(given_flags, "--logprobs-mode") == "raw_logprobs"
    assert option(given_flags, "--generation-config") == "vllm"
    assert "--enable-prompt-tokens-details" in given_flags
    assert "--trust-remote-code" not in given_flags
    variables = environment(runtime, "Qwen/Qwen3-8B", kv_cache_gib=2)
    assert variables["VLLM_NO_USAGE_STATS"] == variables["DO_NOT_TRACK"] == "1"
    assert "HF_HUB_OFFLINE" not in variables.keys() - os.environ.keys()


def test_a_cpu_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 32768}')
    arguments = list(flags(CPU, str(tmp_path), port=1, name="m", context=None))
    assert option(arguments, "--dtype") == "float32"
    assert option(arguments, "--block-size") == "32"
    assert "--enforce-eager" in arguments
    assert option(arguments, "--max-model-len") == "4096"
    assert option(arguments, "--model") == str(tmp_path)
    assert CPU.command == ["python", "-m", "vllm.entrypoints.openai.api_server"]
    monkeypatch.setenv("LD_PRELOAD", "/lib/mine.so")
    variables = environment(CPU, str(tmp_path), kv_cache_gib=3)
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert variables["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    assert variables["LD_PRELOAD"] == "/env/lib/libiomp5.so:/lib/mine.so"
    assert variables["HF_HUB_OFFLINE"] == "1"
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 1024}')
    short = list(flags(CPU, str(tmp_path), port=1, name="m", context=None))
    assert option(short, "--max-model-len") == "1024"


def test_a_gpu_server_keeps_vllms_own_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)  # of an engine in this process
    arguments = list(flags(GPU, "Qwen/Qwen3-8B", port=1, name="m", context=None))
    assert not {"--dtype", "--enforce-eager", "--block-size", "--max-model-len", "--model"} & set(
        arguments
    )
    assert arguments[0] == "Qwen/Qwen3-8B"
    assert GPU.command[-1] == "serve"
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment(GPU, "x/y", kv_cache_gib=2)


class TestServable:
    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        assert huggingface_source(str(tmp_path)) == str(tmp_path)

    @pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "google/gemma-3-270m", "a/b.c_d"])
    def test_a_hub_id(self, name: str) -> None:
        assert huggingface_source(name) == name

    def test_a_folder_that_is_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"no config\.json"):
            huggingface_source(str(tmp_path))

    @pytest.mark.parametrize("name", ["nothing", "/no/such/folder", "a/b/c", "./x", "--help/x"])
    def test_what_is_neither(self, name: str) -> None:
        with pytest.raises(MissingFileError, match="no such folder"):
            huggingface_source(name)

    def test_a_gguf_model_is_converted_into_the_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path))
        calls = []

        def convert(gguf: Path, folder: Path) -> Path:
            calls.append((gguf, folder))
            return folder

        monkeypatch.setattr(models, "to_huggingface", convert)
        assert huggingface_source("dir/own.Q4.gguf") == str(tmp_path / "models" / "own.Q4")
        assert calls == [(Path("dir/own.Q4.gguf"), tmp_path / "models" / "own.Q4")]


class TestInspect:
    def test_an_environment_without_vllm(self) -> None:
        with pytest.raises(EngineUnavailableError, match="vLLM is not installed") as caught:
            inspect(sys.executable)
        assert "ECOMFS_VLLM_PYTHON" in caught.value.hint

    def test_an_interpreter_that_does_not_run(self, tmp_path: Path) -> None:
        with pytest.raises(EngineUnavailableError, match="does not run"):
            inspect(str(tmp_path / "python"))

    def test_a_device_that_does_not_exist(self) -> None:
        with pytest.raises(ConfigError, match="'tpu'"):
            inspect(sys.executable, "tpu")


@given(st.sets(st.integers(0, 40), min_size=1))
def test_ranges_name_every_cpu_once(cpus: set[int]) -> None:
    named: list[int] = []
    for part in cpu_ranges(list(cpus)).split(","):
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(cpus)
