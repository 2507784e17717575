"""Opens the engine that a spec names, such as ``gguf:demo?threads=4``.

A spec is a kind, a colon, a name, and options as in a URL. :data:`ENGINES` is the registry of
kinds; ``auto`` is a reachable vLLM server, else the demo model, with torch where the
processor multiplies in bfloat16; ``none`` is no model.
"""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import inspect
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

from ecomfs.core.cpus import processor_flags
from ecomfs.core.messages import did_you_mean
from ecomfs.core.options import NO_MODEL
from ecomfs.engine.protocol import Capabilities, Engine
from ecomfs.errors import ConfigError, EngineUnavailableError
from ecomfs.types import Prompt, Question

logger = logging.getLogger(__name__)

_VLLM_DEFAULT = "http://127.0.0.1:8000"


class NoEngine:
    """The engine ``none``: the experts answer every row alone, at once and without a download.

    >>> engine = NoEngine()
    >>> engine.spec, engine.tokenizer, engine.capabilities.logprobs
    ('none', None, False)
    """

    spec = fingerprint = NO_MODEL
    tokenizer = None
    capabilities = Capabilities(
        logprobs=False, generates=False, prefix_reuse=False, context_tokens=0, batch=256
    )

    async def read(self, prompts: Sequence[Prompt], questions: Sequence[Question]) -> NoReturn:
        """Raises :class:`ConfigError`, since there is no model."""
        raise self._refused("reads prompts")

    async def generate(self, prompts: Sequence[Prompt], **options: Any) -> NoReturn:
        """Raises :class:`ConfigError`, since there is no model."""
        raise self._refused("writes text")

    async def aclose(self) -> None:
        """Do nothing."""

    def _refused(self, what: str) -> ConfigError:
        return ConfigError(
            f"engine none has no model that {what}", hint="name a model: --engine auto"
        )


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An entry of the registry.

    Attributes:
        adapter: ``module:class`` below ``ecomfs.engine``; imported when such an engine is opened.
            The class takes the name as its argument and options as keyword arguments, or has
            a class method ``from_name(name, spec, **options)``.
        extra: extra of ecomfs that installs the runtime; empty if it needs none.
        forms: forms of its specs, for messages.
        served: another program runs the model: the canary checks it at every start, and an actor
            needs no GPU for it.
        rechecked: the canary checks it at every start, although the model is in this process.
        salted: it has the option ``cache_salt``.
    """

    adapter: str
    extra: str
    forms: str
    served: bool = False
    rechecked: bool = False
    salted: bool = False


ENGINES = {
    "gguf": EngineKind(
        "llama.engine:GgufEngine",
        "local",
        "gguf:<file>, gguf:<org>/<repo>[:<quant>], gguf:demo",
        salted=True,
    ),
    "transformers": EngineKind(
        "transformers.engine:TransformersEngine", "transformers", "transformers:<folder or id>"
    ),
    "vllm": EngineKind(
        "vllm.engine:VllmEngine", "vllm-client", "vllm:<url>", served=True, salted=True
    ),
    "vllm-local": EngineKind(
        "vllm.local:VllmLocalEngine", "vllm", "vllm-local:<folder or id>", rechecked=True
    ),
    "litellm": EngineKind(
        "litellm:LiteLlmEngine", "litellm", "litellm:<provider>/<model>", served=True
    ),
}
"""Registry of engine kinds. A new engine needs one line here and its adapter."""


def open_engine(spec: str = "auto", **options: Any) -> Engine:
    """Open the engine that a spec names.

    Parameters
    ----------
    spec : str
        ``kind:name?option=value`` (kinds: :data:`ENGINES`), or ``auto``: the vLLM server at
        ``$ECOMFS_VLLM_URL``, else one at http://127.0.0.1:8000, else the packaged demo model: with
        torch in bfloat16 if the processor supports it and transformers is installed, else with
        llama.cpp. :attr:`Engine.spec` of the result tells which one, the log tells why. Or
        ``none``: no model.
    **options
        Arguments of the engine's class, such as ``context`` or ``threads``; they override those
        in the spec.

    Returns
    -------
    Engine
        To be closed with :meth:`Engine.aclose`.

    Raises
    ------
    ConfigError
        There is no such engine, or the engine has no such option.
    EngineUnavailableError
        The runtime is not installed, or the server does not answer.
    ModelError, MissingFileError
        The name is not a model.

    Examples
    --------
    >>> open_engine("gpt")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 'gpt' names no engine (one of: gguf:<file>, ...)
    """
    if spec == "auto":
        spec, why = _auto(plain=not options)
        logger.info("engine auto: %s: %s", spec, why)
    if spec == NO_MODEL:
        return NoEngine()
    kind, _, rest = spec.partition(":")
    if kind not in ENGINES or not rest:
        forms = ", ".join(entry.forms for entry in ENGINES.values())
        near = "" if kind in ENGINES else did_you_mean(kind, ENGINES)
        raise ConfigError(f"{spec!r} names no engine", hint=f"{near}one of: {forms}, auto, none")
    name, given = split_options(rest)
    adapter = _load(ENGINES[kind])
    settings = {**given, **options}
    try:
        if hasattr(adapter, "from_name"):
            engine: Engine = adapter.from_name(name, spec, **settings)
        else:
            engine = adapter(name, **settings)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in settings:
            raise
        known = inspect.signature(adapter).parameters
        raise ConfigError(
            f"{spec}: there is no option {unknown[1]!r}",
            hint=f"{did_you_mean(unknown[1], known)}options are those of {adapter.__name__}",
        ) from error
    return engine


def salted(spec: str, salt: str) -> str:
    """The spec with a cache salt: cached readings and prefixes are shared only between engines with
    the same salt. Unchanged if the kind has no such option, or the spec has a salt.

    >>> salted("gguf:demo?threads=4", "north"), salted("none", "north")
    ('gguf:demo?threads=4&cache_salt=north', 'none')
    """
    if spec == "auto":
        spec, _ = _auto(plain=True)
    kind = ENGINES.get(spec.partition(":")[0])
    if kind is None or not kind.salted or "cache_salt=" in spec:
        return spec
    return f"{spec}{'&' if '?' in spec else '?'}{urlencode({'cache_salt': salt})}"


def is_rechecked(engine: Engine) -> bool:
    """Whether the canary checks it at every start, and not once a machine."""
    kind = ENGINES.get(engine.spec.partition(":")[0])
    return kind is not None and (kind.served or kind.rechecked)


def is_elsewhere(spec: str) -> bool:
    """Whether the engine of a spec has no model in this process.

    >>> is_elsewhere("litellm:openai/gpt-4o-mini"), is_elsewhere("gguf:demo"), is_elsewhere("none")
    (True, False, True)
    """
    kind = ENGINES.get(spec.partition(":")[0])
    return spec == NO_MODEL or (kind is not None and kind.served)


def split_options(rest: str) -> tuple[str, dict[str, Any]]:
    """Split a name and the options after its ``?``; numbers, true and false are converted. A file
    name that contains ``?`` is kept.

    Raises:
        ConfigError: an option has no value, is given twice, or is a secret.

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


def _load(kind: EngineKind) -> Any:
    # Adapters import their runtimes, which are optional and heavy.
    module, _, name = kind.adapter.partition(":")
    try:
        return getattr(importlib.import_module(f"ecomfs.engine.{module}"), name)
    except ModuleNotFoundError as error:
        if not kind.extra:  # nothing to install: the registry names no module of ours
            raise
        raise EngineUnavailableError(
            f"this engine needs {error.name}, which is not installed",
            hint=f"pip install 'ecomfs[{kind.extra}]'",
        ) from error


_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets for bfloat16 products. llama.cpp's wheel uses AVX2 only."""
_TORCH = ("torch", "transformers", "accelerate", "gguf")  # packages to run the demo model in torch


def _auto(*, plain: bool) -> tuple[str, str]:
    """The spec for ``auto``, and the reason. ``plain``: no options are given; their names differ
    between engines."""
    url = os.environ.get("ECOMFS_VLLM_URL")
    if url:
        # The user named this server: if it does not answer, do not use another engine.
        return f"vllm:{url}", "ECOMFS_VLLM_URL names it"
    # /version is vLLM's own; other programs use port 8000 too.
    if b'"version"' in (get_now(_VLLM_DEFAULT, "/version", seconds=1.0) or b""):
        return f"vllm:{_VLLM_DEFAULT}", "a vLLM server answers there"
    fast = sorted(_BFLOAT16 & processor_flags())
    if not fast:
        return "gguf:demo", "no vLLM server, and the processor does not multiply in bfloat16"
    if missing := [name for name in _TORCH if importlib.util.find_spec(name) is None]:
        return "gguf:demo", (
            f"no vLLM server; the processor has {fast[0]}, for which {missing[0]} is not installed "
            "(pip install 'ecomfs[transformers]')"
        )
    if not plain:
        return "gguf:demo", "no vLLM server, and options are given"
    return "transformers:demo?dtype=bfloat16", f"no vLLM server, and the processor has {fast[0]}"


def get_now(url: str, path: str, *, seconds: float) -> bytes | None:
    """The beginning of a response with status 200, read without aiohttp; ``None`` otherwise."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read(4096) if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
