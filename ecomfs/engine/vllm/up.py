"""Starting a vLLM server of one's own: loopback only, the right flags, ready when it returns.

vLLM lives best in an environment of its own; ``python`` (or ``$ECOMFS_VLLM_PYTHON``) names that
environment's interpreter.
"""

from __future__ import annotations

import atexit
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from ecomfs.engine.files import cache_dir
from ecomfs.engine.launch import Runtime, environment, flags, inspect, servable
from ecomfs.errors import EngineTimeoutError, EngineUnavailableError

Progress = Callable[[str, float], None]
"""Called while waiting: what the server says last, and seconds since the start."""

_LAST_LINES = 15
_ENDING = 2.0  # seconds; killed processes give back memory and ports a moment later


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
    progress: Progress | None = None,
) -> VllmServer:
    """Start vLLM and wait until it is ready.

    Args:
        model: a Hugging Face folder, a hub id, or a GGUF model (``demo``, ``smollm2``, a file),
            which is converted once.
        port: 0 takes a free one.
        python: the interpreter of vLLM's environment; default ``$ECOMFS_VLLM_PYTHON``, else the
            running one.
        device: ``auto``, ``gpu`` or ``cpu``.
        context: longest prompt plus answer, in tokens; default: the model's own, at most 4,096
            on CPU.
        kv_cache_gib: memory for keys and values on CPU, in GiB.
        served_name: name of the model in the API; default: the folder's or hub id.
        arguments: more arguments for vLLM, passed as they are.
        timeout: seconds until the start counts as failed.
        progress: called about twice a second while waiting.

    Raises:
        ModelError, MissingFileError: ``model`` is not a model.
        EngineUnavailableError: vLLM is not installed there, or died; its last words are told.
        EngineTimeoutError: not ready in time (the server is stopped then).
    """
    folder = servable(model)
    interpreter = str(python or os.environ.get("ECOMFS_VLLM_PYTHON") or sys.executable)
    runtime = inspect(interpreter, device)
    port = port or _free_port()
    command = [
        *runtime.command,
        *flags(runtime, folder, port=port, name=served_name or _name(folder), context=context),
        *arguments,
    ]
    log = cache_dir() / "logs" / f"vllm-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(runtime, folder, kv_cache_gib=kv_cache_gib),
            start_new_session=True,  # a group of its own, so that stopping ends all of it
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
    """Start vLLM as :func:`start_vllm` does and stay until it ends or the user ends it.

    Args:
        model: see :func:`start_vllm`, as ``options``.
        ready: called once the server answers.

    Returns:
        0 when it was ended by Ctrl-C or SIGTERM, else the server's own exit status.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        with start_vllm(model, **options) as server:  # type: ignore[arg-type]
            if ready is not None:
                ready(server)
            return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


class VllmServer:
    """A running vLLM server that this process owns; a context manager that stops it.

    Attributes:
        url: where it answers, ``http://127.0.0.1:<port>``.
        log: the file with all it says.
        runtime: what it runs on.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log: Path, runtime: Runtime
    ) -> None:
        self._process = process
        self.url = url
        self.log = log
        self.runtime = runtime
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Process id, which is its group's id too."""
        return self._process.pid

    def wait_ready(self, timeout: float, progress: Progress | None = None) -> None:
        """Return when ``/health`` answers; see :func:`start_vllm` for the errors."""
        started = time.monotonic()
        while not _healthy(self.url):
            seconds = time.monotonic() - started
            if self._process.poll() is not None:
                raise EngineUnavailableError(
                    f"vLLM ended with status {self._process.returncode} after {seconds:.0f} s; "
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

    def wait(self) -> int:
        """Wait until the server ends by itself; its exit status."""
        return self._process.wait()

    def stop(self, patience: float = 20.0) -> None:
        """End the server and what it started, and nothing else; twice is fine."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        # Workers may outlive the server when it dies hard; the group is still ours alone.
        self._signal(signal.SIGKILL)
        waited = time.monotonic()
        while self._signal(0) and time.monotonic() - waited < _ENDING:
            time.sleep(0.02)

    def _signal(self, number: int) -> bool:
        """Whether there was any process left to get it."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _name(folder: str) -> str:
    path = Path(folder)
    return path.name if path.is_dir() else folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _healthy(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
