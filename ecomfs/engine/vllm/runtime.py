"""vLLM as a library: imported under the right settings, its errors named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ecomfs.core.retry import permanent
from ecomfs.engine.launch import cpu_settings, private
from ecomfs.engine.vllm.wire import RefusedError
from ecomfs.errors import EngineUnavailableError

NEEDS = "pip install 'ecomfs[vllm]' (0.15 or newer)"


def load(folder: str, kv_cache_gib: int) -> tuple[Any, Any, Any]:
    """vLLM, torch and transformers, imported under vLLM's own settings: no telemetry, no second
    process (whose start would run the user's script again), all cores.

    Raises:
        EngineUnavailableError: one of them is not installed.
    """
    os.environ.update(private(folder))
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    for name, value in cpu_settings(kv_cache_gib).items():
        os.environ.setdefault(name, value)
    try:
        vllm = import_module("vllm")
        return vllm, import_module("torch"), import_module("transformers")
    except ImportError as error:
        raise EngineUnavailableError(
            f"this engine needs {error.name}, which is not installed", hint=NEEDS
        ) from error


@contextmanager
def translating(spec: str) -> Iterator[None]:
    """vLLM's exceptions, whose classes differ between versions, in this package's.

    >>> with translating("vllm-local:x"):
    ...     raise ValueError("temperature must be in [0, 2]")
    Traceback (most recent call last):
    ecomfs.engine.vllm.wire.RefusedError: vllm-local:x: vLLM refuses: temperature must be in [0, 2]
    """
    try:
        yield
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"ValueError", "VLLMClientError"}:
            raise RefusedError(f"{spec}: vLLM refuses: {error}") from error
        if isinstance(error, TypeError):  # a setting that it does not know
            hint = NEEDS
        elif isinstance(error, RuntimeError):
            hint = "vLLM's own log above says more"
        else:
            raise
        message = f"{spec}: vLLM failed: {first_line(error)}"
        raise permanent(EngineUnavailableError(message, hint=hint)) from error


def first_line(error: Exception) -> str:
    """The first line of what an error says.

    >>> first_line(ValueError("too large\\nin detail")), first_line(ValueError())
    ('too large', 'ValueError')
    """
    return (str(error) or type(error).__name__).splitlines()[0]
