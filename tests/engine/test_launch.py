"""How vLLM is started, looked at without starting it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine import launch
from ecomfs.engine.launch import Runtime, cpu_ranges, environment, flags, inspect, servable
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError, ModelError

CPU = Runtime("python", gpu=False, packaged=False, omp="/env/lib/libiomp5.so")
GPU = Runtime("python", gpu=True, packaged=True)


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


@pytest.mark.parametrize("runtime", [CPU, GPU])
def test_what_every_server_gets(runtime: Runtime) -> None:
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


def test_a_gpu_server_keeps_vllms_own_choices(tmp_path: Path) -> None:
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
        assert servable(str(tmp_path)) == str(tmp_path)

    @pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "google/gemma-3-270m", "a/b.c_d"])
    def test_a_hub_id(self, name: str) -> None:
        assert servable(name) == name

    def test_a_folder_that_is_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"no config\.json"):
            servable(str(tmp_path))

    @pytest.mark.parametrize("name", ["nothing", "/no/such/folder", "a/b/c", "./x", "--help/x"])
    def test_what_is_neither(self, name: str) -> None:
        with pytest.raises(MissingFileError, match="no such folder"):
            servable(name)

    def test_a_gguf_model_is_converted_into_the_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path))
        calls = []

        def convert(gguf: Path, folder: Path) -> Path:
            calls.append((gguf, folder))
            return folder

        monkeypatch.setattr(launch, "to_huggingface", convert)
        assert servable("dir/own.Q4.gguf") == str(tmp_path / "models" / "own.Q4")
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
