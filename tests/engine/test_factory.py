"""From a spec to an engine."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fault_server import FaultServer
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine import factory
from ecomfs.engine.factory import ENGINES, is_elsewhere, open_engine
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError


@pytest.mark.parametrize("spec", ["", "gguf", "gguf:", "gpt-4", "openai:gpt", ":x", "Auto"])
def test_a_spec_that_names_nothing(spec: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_engine(spec)
    assert "gguf:demo" in caught.value.hint


def test_an_option_that_does_not_exist(fault_server: FaultServer) -> None:
    with pytest.raises(ConfigError, match="'colour'"):
        open_engine(f"vllm:{fault_server.url}", colour="red")
    with pytest.raises(ConfigError, match="'concurency'") as caught:
        open_engine(f"vllm:{fault_server.url}?concurency=2")
    assert "did you mean 'concurrency'" in caught.value.hint


@pytest.mark.parametrize("kind", ENGINES)
def test_a_served_model_is_elsewhere(kind: str) -> None:
    assert is_elsewhere(f"{kind}:x") == ENGINES[kind].served


def test_an_absent_file() -> None:
    with pytest.raises(MissingFileError):
        open_engine("gguf:no/such.gguf")


@pytest.mark.model
def test_a_packaged_model_keeps_its_short_name() -> None:
    engine = open_engine("gguf:smollm2", context=256)
    assert isinstance(engine, GgufEngine)
    assert engine.spec == "gguf:smollm2"
    assert engine.capabilities.context_tokens == 256
    asyncio.run(engine.aclose())


@pytest.mark.parametrize(
    ("module", "spec", "extra"),
    [("torch", "transformers:some/model", "transformers"), ("xllamacpp", "gguf:{file}", "local")],
)
def test_a_missing_extra_names_its_install(
    module: str, spec: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, module, None)  # importing it now fails
    with pytest.raises(EngineUnavailableError) as caught:
        open_engine(spec.format(file=file))
    assert f"ecomfs[{extra}]" in caught.value.hint


class TestOptions:
    def test_options_are_read_from_the_spec(self, fault_server: FaultServer) -> None:
        engine = open_engine(f"vllm:{fault_server.url}?prompts_per_request=3&concurrency=2")
        assert engine.capabilities.batch == 6
        assert engine.spec == f"vllm:{fault_server.url}"
        asyncio.run(engine.aclose())

    def test_those_of_the_call_go_before(self, fault_server: FaultServer) -> None:
        spec = f"vllm:{fault_server.url}?concurrency=2"
        engine = open_engine(spec, concurrency=1, prompts_per_request=1)
        assert engine.capabilities.batch == 1
        asyncio.run(engine.aclose())

    @pytest.mark.model
    def test_threads_of_llama_cpp(self) -> None:
        engine = open_engine("gguf:smollm2?threads=1&context=256")
        assert engine.capabilities.context_tokens == 256
        asyncio.run(engine.aclose())

    @pytest.mark.parametrize("query", ["api_key=sk", "hf_token=x", "client_secret=y", "KEY=1"])
    def test_no_secrets(self, query: str) -> None:
        with pytest.raises(ConfigError, match="must not stand in") as caught:
            open_engine(f"litellm:openai/gpt?{query}")
        assert query.partition("=")[2] not in caught.value.message.partition("which")[2]

    @pytest.mark.parametrize("query", ["threads=1&threads=2", "threads=", "&", ""])
    def test_unknown_options_are_refused(self, query: str) -> None:
        with pytest.raises(ConfigError):
            open_engine(f"gguf:demo?{query}")

    def test_a_file_may_have_a_question_mark(self, tmp_path: Path) -> None:
        file = tmp_path / "what?x=1"
        file.write_bytes(b"GGUF")
        assert factory.split_options(str(file)) == (str(file), {})

    @given(st.dictionaries(st.from_regex(r"[a-j]{1,3}_[0-9]", fullmatch=True), st.integers()))
    def test_numbers_come_back(self, options: dict[str, int]) -> None:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        rest = f"demo?{query}" if query else "demo"
        assert factory.split_options(rest) == ("demo", options)


class TestAuto:
    def test_the_server_that_the_user_names(
        self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ECOMFS_VLLM_URL", fault_server.url)
        engine = open_engine()
        assert isinstance(engine, VllmEngine)
        assert engine.spec == f"vllm:{fault_server.url}"
        asyncio.run(engine.aclose())

    def test_a_named_server_that_is_gone_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ECOMFS_VLLM_URL", f"http://127.0.0.1:{closed_port()}")
        with pytest.raises(EngineUnavailableError, match="no server answers"):
            open_engine()

    def test_the_usual_port(
        self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ECOMFS_VLLM_URL", raising=False)
        monkeypatch.setattr(factory, "_VLLM_DEFAULT", fault_server.url)
        engine = open_engine("auto")
        assert isinstance(engine, VllmEngine)
        asyncio.run(engine.aclose())

    @pytest.mark.model
    def test_else_the_demo_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ECOMFS_VLLM_URL", raising=False)
        monkeypatch.setattr(factory, "_VLLM_DEFAULT", f"http://127.0.0.1:{closed_port()}")
        engine = open_engine("auto", context=256)
        assert engine.spec == "gguf:demo"
        asyncio.run(engine.aclose())

    @pytest.mark.parametrize(
        ("flags", "lacks", "options", "opened", "why"),
        [
            ({"avx2"}, "", {}, "gguf", "does not multiply in bfloat16"),
            ({"avx2", "amx_bf16"}, "", {}, "transformers", "the processor has amx_bf16"),
            ({"avx512_bf16"}, "torch", {}, "gguf", "torch is not installed"),
            ({"avx512_bf16"}, "", {"context": 256}, "gguf", "options are given"),
        ],
    )
    def test_in_the_fastest_runtime_that_is_installed(
        self,
        flags: set[str],
        lacks: str,
        options: dict[str, int],
        opened: str,
        why: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        class Opened:
            def __init__(self, name: str, spec: str, **options: object) -> None:
                self.spec, self.name, self.options = spec, name, options

            @classmethod
            def from_name(cls, name: str, spec: str, **options: object) -> Opened:
                return cls(name, spec, **options)

        monkeypatch.delenv("ECOMFS_VLLM_URL", raising=False)
        monkeypatch.setattr(factory, "_VLLM_DEFAULT", f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setattr(factory, "processor_flags", lambda: frozenset(flags))
        monkeypatch.setattr(
            factory.importlib.util, "find_spec", lambda name: None if name == lacks else name
        )
        monkeypatch.setattr(factory, "_load", lambda kind: Opened)
        with caplog.at_level("INFO", logger="ecomfs.engine.factory"):
            engine = open_engine("auto", **options)
        assert isinstance(engine, Opened)
        assert engine.spec.partition(":")[0] == opened
        assert engine.name == "demo"
        assert engine.options == (options or ({"dtype": "bfloat16"} if opened != "gguf" else {}))
        assert why in caplog.text


def test_importing_the_factory_loads_no_runtime() -> None:
    code = (
        "import sys, ecomfs.engine.factory, ecomfs.engine.models, ecomfs.engine.canary\n"
        "heavy = {'torch', 'transformers', 'vllm', 'litellm', 'xllamacpp', 'aiohttp', 'gguf', "
        "'huggingface_hub'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
