"""From the string a user writes to an engine.

gguf:<file>                GGUF model in this process (gguf:demo, gguf:smollm2: packaged)
transformers:<folder|id>   Hugging Face model in this process, CPU or GPU (transformers:demo,
                           transformers:smollm2: packaged, made into a folder once)
vllm:<url>[,<url>…]        vLLM servers of one model
vllm-local:<folder|id>     Hugging Face model in this process, by vLLM
litellm:<provider>/<model> a hosted model
auto                       a reachable vLLM server, else gguf:demo

Options follow as in an address: ``gguf:demo?threads=4``, ``litellm:openai/gpt-4o-mini?rpm=60``.
"""

from __future__ import annotations

import http.client
import importlib
import logging
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ecomfs.engine.protocol import Engine
from ecomfs.errors import ConfigError, EngineUnavailableError

logger = logging.getLogger(__name__)

_FORMS = (
    "gguf:<file>, gguf:demo, gguf:smollm2, transformers:<folder or id>, vllm:<url>, "
    "vllm-local:<folder or id>, litellm:<provider>/<model>, auto"
)
_KINDS = ("gguf", "transformers", "vllm", "vllm-local", "litellm")
_VLLM_DEFAULT = "http://127.0.0.1:8000"


def open_engine(spec: str = "auto", **options: Any) -> Engine:
    """Open the engine that ``spec`` names.

    Args:
        spec: see the module. ``auto`` takes the vLLM server at ``$ECOMFS_VLLM_URL``, else one at
            http://127.0.0.1:8000, else the packaged demo model; :attr:`Engine.spec` of the result
            says which it was.
        options: passed to the engine's class (such as ``context`` or ``threads``); they go before
            those of the spec.

    Raises:
        ConfigError: ``spec`` names no engine, or the engine has no such option.
        EngineUnavailableError: its runtime is not installed, or nothing answers.
        ModelError, MissingFileError: it is not a model.

    >>> open_engine("gpt")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 'gpt' names no engine (one of: gguf:<file>, ...)
    """
    kind, separator, rest = spec.partition(":")
    if spec == "auto":
        spec = _auto()
        logger.info("engine auto: %s", spec)
        return open_engine(spec, **options)
    if not separator or not rest or kind not in _KINDS:
        raise ConfigError(f"{spec!r} names no engine", hint=f"one of: {_FORMS}")
    rest, given = split_options(rest)
    options = {**given, **options}
    try:
        if kind == "gguf":
            return _gguf(rest, spec, options)
        if kind == "transformers":
            return _transformers(rest, spec, options)
        if kind == "litellm":
            return _load("litellm.engine", "LiteLlmEngine", "litellm")(rest, **options)
        if kind == "vllm-local":
            return _load("vllm.local", "VllmLocalEngine", "vllm")(rest, **options)
        urls = [url for url in rest.split(",") if url]
        return _load("vllm.http", "VllmEngine", "vllm-client")(urls, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise ConfigError(f"{spec}: {error}", hint="see the engine's class") from error
        raise


def split_options(rest: str) -> tuple[str, dict[str, Any]]:
    """A name and the options after its ``?``; whole numbers, numbers, true and false are read as
    such. A file whose name has a ``?`` keeps it.

    Raises:
        ConfigError: an option without a value, given twice, or one that is a secret.

    >>> split_options("demo?threads=4&repeatable=false")
    ('demo', {'threads': 4, 'repeatable': False})
    >>> split_options("openai/gpt?api_key=sk")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: a key must not stand in an engine's name, which is written ...
    """
    name, mark, query = rest.partition("?")
    if not mark or os.path.exists(rest):
        return rest, {}
    options: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if "key" in key.casefold() or "token" in key.casefold() or "secret" in key.casefold():
            raise ConfigError(
                "a key must not stand in an engine's name, which is written into results",
                hint="set the environment variable of the provider",
            )
        if not value or key in options:
            raise ConfigError(f"option {key!r} has no value or two", hint="NAME?option=value")
        options[key] = _value(value)
    if not options:
        raise ConfigError(f"{query!r} is no option", hint="NAME?option=value&option=value")
    return name, options


def _value(text: str) -> bool | int | float | str:
    if text.casefold() in ("true", "false"):
        return text.casefold() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _gguf(rest: str, spec: str, options: dict[str, Any]) -> Engine:
    from ecomfs.engine import models

    path = models.packaged_model(rest) if rest in models.PACKAGED else rest
    return _load("llama.engine", "GgufEngine", "local")(path, spec=spec, **options)


def _transformers(rest: str, spec: str, options: dict[str, Any]) -> Engine:
    from ecomfs.engine import models

    if rest in models.PACKAGED:
        from ecomfs.engine.launch import servable

        rest = servable(rest)
    return _load("transformers.engine", "TransformersEngine", "transformers")(
        rest, spec=spec, **options
    )


def _load(module: str, name: str, extra: str) -> Callable[..., Engine]:
    # Each engine module imports its runtime; the runtimes are optional and heavy.
    try:
        engine: Callable[..., Engine] = getattr(
            importlib.import_module(f"ecomfs.engine.{module}"), name
        )
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"this engine needs {error.name}, which is not installed",
            hint=f"pip install 'ecomfs[{extra}]'",
        ) from error
    return engine


def _auto() -> str:
    url = os.environ.get("ECOMFS_VLLM_URL")
    if url:
        # Named by the user: if nothing answers there, another engine would be a surprise.
        return f"vllm:{url}"
    return f"vllm:{_VLLM_DEFAULT}" if _is_vllm(_VLLM_DEFAULT) else "gguf:demo"


def _is_vllm(url: str) -> bool:
    """Whether a vLLM server answers: its ``/version`` is its own, other programs like port 8000
    too."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=1.0)
    try:
        connection.request("GET", "/version")
        response = connection.getresponse()
        return response.status == 200 and b'"version"' in response.read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
