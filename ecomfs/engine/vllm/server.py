"""Starts a vLLM server on loopback, with its flags and environment, and waits until it is ready."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from ecomfs.core.cache import cache_folder
from ecomfs.core.cpus import usable_cpus
from ecomfs.engine.factory import get_now
from ecomfs.engine.models import huggingface_source
from ecomfs.errors import ConfigError, EngineTimeoutError, EngineUnavailableError

StartProgress = Callable[[str, float], None]
"""Called while waiting, with the last line of the log and the seconds since the start."""

_LAST_LINES = 15
_ENDING = 2.0  # seconds until killed processes have freed memory and ports


def start_vllm(
    model: str,
    *,
    port: int = 0,
    python: str | Path | None = None,
    device: str = "auto",
    context: int | None = None,
    kv_cache_gib: int = 2,
    served_name: str | None = None,
    arguments: Sequence[str] = (),
    timeout: float = 900.0,
    progress: StartProgress | None = None,
) -> VllmServer:
    """Start vLLM and wait until it is ready.

    Args:
        model: a Hugging Face folder, a hub id, or a GGUF model (``demo``, ``smollm2``, a file),
            which is converted once.
        port: port; 0: a free one.
        python: the interpreter of vLLM's environment; default: ``$ECOMFS_VLLM_PYTHON``, else the
            running one.
        device: ``auto``, ``gpu`` or ``cpu``.
        context: longest prompt plus answer, in tokens; default: the model's own, at most 4,096
            on CPU.
        kv_cache_gib: memory for keys and values on CPU, in GiB.
        served_name: name of the model in the API; default: the folder's or hub id.
        arguments: further arguments for vLLM.
        timeout: seconds until the start counts as failed.
        progress: called about twice a second while waiting.

    Raises:
        ModelError, MissingFileError: ``model`` is not a model.
        EngineUnavailableError: vLLM is not installed, or ended (the message has the end of its
            log).
        EngineTimeoutError: it is not ready in time, and was stopped.
    """
    folder = huggingface_source(model)
    interpreter = str(python or os.environ.get("ECOMFS_VLLM_PYTHON") or sys.executable)
    runtime = inspect(interpreter, device)
    port = port or _free_port()
    name = served_name or (Path(folder).name if Path(folder).is_dir() else folder)
    command = [
        *runtime.command,
        *flags(runtime, folder, port=port, name=name, context=context),
        *arguments,
    ]
    log = cache_folder() / "logs" / f"vllm-{port}.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    # vLLM may log prompts: only this user may read the file.
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(runtime, folder, kv_cache_gib=kv_cache_gib),
            start_new_session=True,  # its own group, so that stopping ends all processes
        )
    server = VllmServer(process, f"http://127.0.0.1:{port}", log, runtime)
    try:
        server.wait_ready(timeout, progress)
    except BaseException:
        server.stop()
        raise
    return server


def serve_foreground(
    model: str, *, ready: Callable[[VllmServer], None] | None = None, **options: object
) -> int:
    """Start vLLM as :func:`start_vllm` does, and wait until it ends or the user stops it.

    Args:
        ready: called once the server answers.

    Returns:
        0 if it was stopped by Ctrl-C or SIGTERM, else the server's exit status.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        with start_vllm(model, **options) as server:  # type: ignore[arg-type]
            if ready is not None:
                ready(server)
            return server.process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


class VllmServer:
    """A running vLLM server that this process owns; a context manager that stops it.

    Attributes:
        url: its address, ``http://127.0.0.1:<port>``.
        log: the file with its output.
        runtime: the vLLM installation.
        pid: process id, and id of its process group.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log: Path, runtime: Runtime
    ) -> None:
        self.process, self.pid = process, process.pid
        self.url, self.log, self.runtime = url, log, runtime
        atexit.register(self.stop)

    def wait_ready(self, timeout: float, progress: StartProgress | None = None) -> None:
        """Wait until ``/health`` answers; see :func:`start_vllm` for the errors."""
        started = time.monotonic()
        while get_now(self.url, "/health", seconds=5.0) is None:
            seconds = time.monotonic() - started
            if self.process.poll() is not None:
                raise EngineUnavailableError(
                    f"vLLM ended with status {self.process.returncode} after {seconds:.0f} s; "
                    f"its last lines:\n{self.last_lines()}",
                    hint=f"the whole log: {self.log}",
                )
            if seconds > timeout:
                raise EngineTimeoutError(
                    f"vLLM is not ready after {seconds:.0f} s; its last lines:\n"
                    f"{self.last_lines()}",
                    hint=f"a longer time limit, a smaller model; the whole log: {self.log}",
                )
            if progress is not None:
                progress(self.last_lines(1), seconds)
            time.sleep(0.5)

    def last_lines(self, count: int = _LAST_LINES) -> str:
        """The end of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16384))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-count:])

    def stop(self, patience: float = 20.0) -> None:
        """End the server and the processes it started; it may be called twice."""
        atexit.unregister(self.stop)
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
        # Workers may outlive a killed server; the process group is still ours alone.
        self._signal(signal.SIGKILL)
        waited = time.monotonic()
        while self._signal(0) and time.monotonic() - waited < _ENDING:
            time.sleep(0.02)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; returns whether any process was left."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


CPU_CONTEXT = 4096

# Runs in the other environment. It reads metadata and looks for a GPU through torch: importing vllm
# takes half a minute.
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
        gpu: whether it runs on a GPU.
        packaged: whether the distribution is called ``vllm``; other builds cannot run
            ``vllm serve`` and are started through the server's module.
        omp: path of Intel's OpenMP library in the environment; empty if there is none.
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
    """Find the vLLM installation in the environment of ``python``."""
    if device not in ("auto", "gpu", "cpu"):
        raise ConfigError(f"device {device!r}", hint="one of: auto, gpu, cpu")
    hint = "pip install 'ecomfs[vllm]', or set ECOMFS_VLLM_PYTHON to its environment's python"
    try:
        output = subprocess.run(
            [python, "-c", _INSPECT], capture_output=True, text=True, timeout=120, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailableError(f"{python} does not run: {error}", hint=hint) from error
    found = json.loads(output.splitlines()[-1])
    if not found["importable"]:
        raise EngineUnavailableError(f"vLLM is not installed for {python}", hint=hint)
    if device == "gpu" and not found["gpu"]:
        raise ConfigError("no GPU is visible to vLLM's environment", hint="--device cpu")
    gpu = found["gpu"] if device == "auto" else device == "gpu"
    return Runtime(python, gpu=gpu, packaged=found["vllm"] is not None, omp=found["omp"])


def flags(
    runtime: Runtime, folder: str, *, port: int, name: str, context: int | None
) -> Sequence[str]:
    """vLLM's flags: loopback, log-probabilities before any mask, plain greedy decoding (no
    repetition penalty from the model's ``generation_config``), and reporting of cached tokens."""
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
    """The environment of the server: that of this process, with telemetry off and CPU settings."""
    variables = {**os.environ, **private(folder)}
    if not runtime.gpu:
        variables |= cpu_settings(kv_cache_gib)
        if runtime.omp:
            loaded = [runtime.omp, os.environ.get("LD_PRELOAD", "")]
            variables["LD_PRELOAD"] = ":".join(part for part in loaded if part)
    return variables


def private(folder: str) -> dict[str, str]:
    """Environment variables that switch off vLLM's telemetry, and access to the hub if the model is
    on this machine."""
    offline = {"HF_HUB_OFFLINE": "1"} if Path(folder).is_dir() else {}
    return {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **offline}


def cpu_settings(kv_cache_gib: int) -> dict[str, str]:
    """Environment variables of vLLM on CPU: use all cores (the default is one), cache size."""
    return {
        "VLLM_CPU_OMP_THREADS_BIND": cpu_ranges(usable_cpus()),
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
    }


def cpu_ranges(cpus: Sequence[int]) -> str:
    """CPU numbers in the kernel's notation.

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
    config = Path(folder) / "config.json"
    if runtime.gpu or not config.is_file():
        return None
    trained = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return min(CPU_CONTEXT, int(trained)) if trained else CPU_CONTEXT
