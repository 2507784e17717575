"""How vLLM wants to be started: its command, its flags and its environment, for GPU and CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecomfs.engine.convert import to_huggingface
from ecomfs.engine.models import PACKAGED, models_dir, packaged_model
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError, ModelError

_CPU_CONTEXT = 4096
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

# Runs in the other environment. Only metadata is read, and torch asked for a GPU: importing vllm
# itself takes half a minute.
_INSPECT = """
import importlib.metadata as m, importlib.util as u, json, sys
from pathlib import Path
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
gpu = False
if u.find_spec("torch"):
    import torch
    gpu = bool(torch.cuda.is_available())
omp = [str(p) for p in (Path(sys.prefix) / "lib").glob("libiomp5.so")]
print(json.dumps({"vllm": version("vllm"), "importable": u.find_spec("vllm") is not None,
                  "gpu": gpu, "omp": omp[0] if omp else ""}))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A vLLM installation.

    Attributes:
        python: its interpreter.
        gpu: whether it shall run on a GPU.
        packaged: the distribution is called ``vllm``; builds of another name cannot run
            ``vllm serve`` and are started through the server's module.
        omp: Intel's OpenMP library of the environment; empty if there is none.
    """

    python: str
    gpu: bool
    packaged: bool
    omp: str = ""

    @property
    def command(self) -> list[str]:
        """The command up to its flags."""
        if self.packaged:
            return [self.python, "-m", "vllm.entrypoints.cli.main", "serve"]
        return [self.python, "-m", "vllm.entrypoints.openai.api_server"]


def inspect(python: str, device: str = "auto") -> Runtime:
    """What can run in the environment of ``python``.

    Raises:
        ConfigError: no such device, or ``gpu`` where there is none.
        EngineUnavailableError: the interpreter does not run, or vLLM is not installed there.
    """
    if device not in ("auto", "gpu", "cpu"):
        raise ConfigError(f"device {device!r}", hint="one of: auto, gpu, cpu")
    hint = "pip install 'ecomfs[vllm]', or set ECOMFS_VLLM_PYTHON to its environment's python"
    try:
        said = subprocess.run(
            [python, "-c", _INSPECT], capture_output=True, text=True, timeout=120, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailableError(f"{python} does not run: {error}", hint=hint) from error
    found = json.loads(said.splitlines()[-1])
    if not found["importable"]:
        raise EngineUnavailableError(f"vLLM is not installed for {python}", hint=hint)
    if device == "gpu" and not found["gpu"]:
        raise ConfigError("no GPU is visible to vLLM's environment", hint="--device cpu")
    gpu = found["gpu"] if device == "auto" else device == "gpu"
    return Runtime(python, gpu=gpu, packaged=found["vllm"] is not None, omp=found["omp"])


def servable(model: str) -> str:
    """What vLLM can serve for ``model``: a Hugging Face folder or hub id as it is; a GGUF model
    (a packaged one by name, or a file) converted to a folder in the cache.

    >>> servable("Qwen/Qwen3-8B")
    'Qwen/Qwen3-8B'
    >>> servable("no-such-model")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-model: no such folder ...
    """
    if model in PACKAGED or model.endswith(".gguf"):
        file = packaged_model(model) if model in PACKAGED else Path(model)
        return str(to_huggingface(file, models_dir() / file.stem))
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{model}: not a Hugging Face model folder: it has no config.json",
                hint="see 'ecomfs models'",
            )
        return str(path)
    if path.exists() or not _HUB_ID.fullmatch(model):
        raise MissingFileError(
            f"{model}: no such folder",
            hint="a Hugging Face folder, a hub id such as Qwen/Qwen3-8B, or demo or smollm2",
        )
    return model


def flags(
    runtime: Runtime, folder: str, *, port: int, name: str, context: int | None
) -> Sequence[str]:
    """vLLM's flags. Loopback; log-probabilities before any mask; greedy means greedy (no
    repetition penalty from the model's ``generation_config``); cached tokens are told."""
    length = context if context is not None else _context(runtime, folder)
    return [
        *(["--model"] if not runtime.packaged else []),
        folder,
        *("--served-model-name", name),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--generation-config", "vllm"),
        *("--logprobs-mode", "raw_logprobs"),
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        *(("--max-model-len", str(length)) if length else ()),
        # bfloat16 is eight times slower on CPUs without AVX-512, compiling costs minutes, and
        # the default key/value block of 128 tokens is longer than most fixed prefixes.
        *(() if runtime.gpu else ("--dtype", "float32", "--enforce-eager", "--block-size", "32")),
    ]


def environment(runtime: Runtime, folder: str, *, kv_cache_gib: int) -> dict[str, str]:
    """The environment of the server: this one's, telemetry off, and CPU settings."""
    variables = {**os.environ, **private(folder)}
    if not runtime.gpu:
        variables |= cpu_settings(kv_cache_gib)
        if runtime.omp:
            loaded = [runtime.omp, os.environ.get("LD_PRELOAD", "")]
            variables["LD_PRELOAD"] = ":".join(part for part in loaded if part)
    return variables


def private(folder: str) -> dict[str, str]:
    """Environment variables that keep vLLM from calling home, and from the model hub when the
    model is here."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if Path(folder).is_dir():
        variables["HF_HUB_OFFLINE"] = "1"
    return variables


def cpu_settings(kv_cache_gib: int) -> dict[str, str]:
    """Environment variables of vLLM on CPU: all cores (the default binds one), and the cache."""
    return {
        "VLLM_CPU_OMP_THREADS_BIND": cpu_ranges(_usable_cpus()),
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
    }


def cpu_ranges(cpus: Sequence[int]) -> str:
    """CPU numbers as the kernel writes them.

    >>> cpu_ranges([0, 1, 2, 5])
    '0-2,5'
    """
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _context(runtime: Runtime, folder: str) -> int | None:
    if runtime.gpu:
        return None
    config = Path(folder) / "config.json"
    if not config.is_file():
        return None
    trained = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return min(_CPU_CONTEXT, int(trained)) if trained else _CPU_CONTEXT


def _usable_cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
