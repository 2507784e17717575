"""litellm's interface: allowed versions, its table of models, reading its answers."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from ecomfs.core.retry import BUSY_STATUS, is_retried, permanent, retry_after
from ecomfs.core.words import one_line
from ecomfs.engine.logprobs import fault
from ecomfs.engine.protocol import Spending, TopTokens
from ecomfs.errors import (
    ConfigError,
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    RequestRefusedError,
    ServerStatusError,
)
from ecomfs.types import Generation

MALICIOUS = frozenset({"1.82.7", "1.82.8"})
"""Releases that stole secrets when they were imported; withdrawn from the index, but they may lie
in mirrors and caches."""

_INSTALL = "pip install 'ecomfs[litellm]'"


@dataclass(frozen=True, slots=True)
class Known:
    """A model in litellm's table.

    Attributes:
        text: it completes texts and does not chat.
        lists: it lists the likeliest tokens.
        seeds: it takes a seed.
        context: longest prompt in tokens; ``None`` if unknown.
    """

    text: bool
    lists: bool
    seeds: bool
    context: int | None


def installed_version() -> str:
    """Version of the installed litellm; it is not imported for that."""
    try:
        return metadata.version("litellm")
    except metadata.PackageNotFoundError:
        raise EngineUnavailableError(
            "this engine needs litellm, which is not installed", hint=_INSTALL
        ) from None


def library() -> Any:
    """litellm, imported without network access: its packaged price table, no ``.env`` file, no
    telemetry.

    Raises:
        EngineUnavailableError: it is not installed, or a release that must not be imported.
    """
    version = installed_version()
    if version in MALICIOUS:
        raise EngineUnavailableError(
            f"litellm {version} is a release with malicious code and is not imported",
            hint=f"{_INSTALL} --upgrade, and change the secrets that this machine holds",
        )
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # DEV, the default, reads .env files
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            litellm: Any = import_module("litellm")
        except ImportError as error:
            raise EngineUnavailableError(
                f"this engine needs {error.name}, which is not installed", hint=_INSTALL
            ) from error
    litellm.telemetry = False  # releases before 1.60 sent some
    litellm.suppress_debug_info = True  # it prints advertisements to stdout on errors
    litellm.disable_aiohttp_transport = True  # it leaves sessions open, which warn at exit
    litellm.drop_params = False  # a setting that a provider lacks is an error
    return litellm


_users: list[None] = []  # one entry an open engine; appending and popping are atomic


def hold() -> None:
    """One more engine uses litellm's connections."""
    _users.append(None)


async def release(litellm: Any) -> None:
    """One engine fewer; the last one closes the connections (litellm opens new ones if need be)."""
    _users.pop()
    if not _users:
        await litellm.close_litellm_async_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()


def known(litellm: Any, model: str) -> Known:
    """Facts about ``model`` from litellm's table.

    Raises:
        ConfigError: it has no such provider.
    """
    try:
        name, provider, _, _ = litellm.get_llm_provider(model)
    except Exception as error:
        raise ConfigError(
            f"litellm has no provider of {model!r}",
            hint="litellm:PROVIDER/MODEL, such as litellm:openai/gpt-4o-mini",
        ) from error
    given = litellm.get_supported_openai_params(name, custom_llm_provider=provider) or []
    try:
        info: Mapping[str, Any] = litellm.get_model_info(model)
    except Exception:  # of a class that differs between versions: the model is not in its table
        info = {}
    text = provider.startswith("text-completion") or info.get("mode") == "completion"
    lists = "logprobs" in given and (text or "top_logprobs" in given)
    context = info.get("max_input_tokens") or info.get("max_tokens")
    return Known(text, lists, "seed" in given, int(context) if context else None)


def asks_for_top(count: int, text: bool) -> dict[str, Any]:
    """The options that ask for the likeliest tokens."""
    return {"logprobs": count} if text else {"logprobs": True, "top_logprobs": count}


def top_tokens(answer: Any, text: bool) -> TopTokens:
    """The likeliest first tokens of an answer.

    Raises:
        EngineResponseError: it lists none, or what is no part of a distribution.
    """
    choice = _choice(answer)
    logprobs = getattr(choice, "logprobs", None)
    try:
        if text:
            pairs = list(_get(logprobs, "top_logprobs")[0].items())
        else:
            listed = _get(_get(logprobs, "content")[0], "top_logprobs")
            pairs = [(_get(t, "token"), _get(t, "logprob")) for t in listed]
        found: dict[str, float] = {}
        for token, value in pairs:
            if not isinstance(token, str):
                raise ValueError(token)
            number = math.nan if value is None else float(value)
            found[token] = _either(found.get(token), number)
        if not found:
            raise ValueError("empty")
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise permanent(
            EngineResponseError(
                "the provider listed no likely tokens",
                hint="read the text instead: ?top_logprobs=0",
            )
        ) from error
    ordered = sorted(found.items(), key=lambda pair: -pair[1])
    prompt_tokens, cached = _prompt_tokens(answer)
    if (wrong := fault(found.values())) is not None:
        raise wrong
    return TopTokens(dict(ordered), prompt_tokens, cached)


def generation(answer: Any, text: bool) -> Generation:
    """The text of an answer; empty when there is none."""
    choice = _choice(answer)
    content = choice.text if text else choice.message.content
    return Generation(content or "", *_prompt_tokens(answer))


def used(answer: Any) -> tuple[int, int] | None:
    """Tokens of prompt and answer as the provider counts them; ``None`` if it does not."""
    usage = getattr(answer, "usage", None)
    prompt = getattr(usage, "prompt_tokens", None)
    if not prompt:
        return None
    return int(prompt), int(getattr(usage, "completion_tokens", None) or 0)


def spent(litellm: Any, model: str, answer: Any, before: Spending) -> Spending:
    """``before`` and one answered call."""
    prompt, answered = used(answer) or (0, 0)
    try:
        cost = float(litellm.completion_cost(completion_response=answer, model=model))
    except Exception:  # of many classes: litellm has no price for the model
        cost = None
    return Spending(
        before.calls + 1,
        before.prompt_tokens + prompt,
        before.answer_tokens + answered,
        before.usd + (cost or 0.0),
        before.unpriced + (cost is None),
    )


def price(litellm: Any, model: str, prompt_tokens: int, answer_tokens: int) -> float | None:
    """US dollars; ``None`` when litellm has no price for the model."""
    try:
        cost = litellm.cost_per_token(
            model=model, prompt_tokens=prompt_tokens, completion_tokens=answer_tokens
        )
    except Exception:  # of a class that differs between versions
        return None
    return float(sum(cost))


def translated(error: Exception, spec: str) -> EngineError:
    """litellm's exceptions, all of which carry an HTTP status, in this package's classes."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(error, "status_code", None)
    reason = one_line(error, 200)
    if "ContextWindowExceededError" in kinds:
        return ContextOverflowError(
            f"{spec}: the prompt does not fit the model's context",
            hint="fewer demonstrations (--k) or shorter texts",
        )
    if status in (401, 403):
        # The message may quote a part of the key.
        return permanent(
            EngineUnavailableError(
                f"{spec}: the provider refuses the API key (HTTP {status})",
                hint="set the provider's own environment variable, such as OPENAI_API_KEY",
            )
        )
    if "Timeout" in kinds or isinstance(error, TimeoutError):
        return EngineTimeoutError(f"{spec}: no answer in time", hint="?timeout=SECONDS")
    if "APIConnectionError" in kinds:
        return EngineUnavailableError(f"{spec}: no connection: {reason}", hint="is it reachable?")
    if not isinstance(status, int):
        return permanent(EngineResponseError(f"{spec}: {type(error).__name__}: {reason}"))
    message = f"{spec}: the provider answered HTTP {status}: {reason}"
    if is_retried(status):
        return ServerStatusError(message, seconds=_asked(error), busy=status in BUSY_STATUS)
    if status == 404:
        return permanent(EngineResponseError(message, hint="is this the model's name?"))
    return RequestRefusedError(message)


def _asked(error: Exception) -> float:
    """Seconds of a ``Retry-After`` header, wherever litellm keeps the headers."""
    response = getattr(error, "response", None)
    for headers in (
        getattr(error, "litellm_response_headers", None),
        getattr(response, "headers", None),
    ):
        if isinstance(headers, Mapping) and (value := headers.get("retry-after")):
            return retry_after(str(value))
    return 0.0


def _choice(answer: Any) -> Any:
    choices = getattr(answer, "choices", None) or []
    if len(choices) != 1:
        raise EngineResponseError(f"the provider gave {len(choices)} answers to one prompt")
    return choices[0]


def _prompt_tokens(answer: Any) -> tuple[int, int]:
    usage = getattr(answer, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None)
    return int(getattr(usage, "prompt_tokens", None) or 0), int(cached or 0)


def _get(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, Mapping) else getattr(value, name)


def _either(known: float | None, value: float) -> float:
    """log(e^a + e^b): two tokens of one text."""
    if known is None:
        return value
    top = max(known, value)
    if math.isinf(top):
        return top
    return top + math.log(math.exp(known - top) + math.exp(value - top))
