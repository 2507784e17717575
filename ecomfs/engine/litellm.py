"""A hosted model of any provider, through litellm's library (never its proxy).

Providers give no token ids and no tokenizer, so labels are read from the likeliest next tokens if
the provider lists them, else from generated text. litellm translates between providers; time-outs,
limits and retries are those of ecomfs.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import warnings
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from importlib import import_module, metadata
from typing import Any, Literal, TypeVar, get_args
from weakref import WeakKeyDictionary

from ecomfs.core.messages import one_line
from ecomfs.core.retry import BUSY_STATUS, is_retried, permanent, retry_after, retrying
from ecomfs.engine.chat import ChatModel, without_control
from ecomfs.engine.logprobs import fault
from ecomfs.engine.protocol import Capabilities, Sampling, Spending, TopTokens
from ecomfs.engine.servers import RateLimit, ServerPool
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
from ecomfs.types import Generation, Prompt, Question, Reading, Turn

T = TypeVar("T")
ApiMode = Literal["auto", "chat", "text"]

MALICIOUS = frozenset({"1.82.7", "1.82.8"})
"""Releases that stole secrets on import; they were withdrawn, but mirrors and caches may have
them."""

_INSTALL = "pip install 'ecomfs[litellm]'"
_CONTEXT = 8192  # tokens, of models that litellm does not know


class LiteLlmEngine:
    """Reads a hosted model. Keys come from the provider's own environment variables
    (``OPENAI_API_KEY``, …), never from a spec, which is written into results.

    Args:
        model: litellm's name of it: provider, slash, model.
        mode: ``chat``, ``text`` (completions, for base models) or ``auto``: from litellm's table.
        api_base: the provider's address, for those that are not at their usual one.
        rpm: requests per minute that the provider allows.
        tpm: tokens per minute that it allows.
        timeout: seconds a request may take.
        attempts: most attempts per request.
        concurrency: most requests in flight; fewer while the provider answers 429 or 503.
        top_logprobs: number of top tokens to request; default: as many as the provider gives (20
            in chats, 5 in completions), 0 if litellm's table has none. With 0 the text is read.
        context: longest prompt plus answer, in tokens; default: from litellm's table.
        backoff: first pause before a retry, in seconds; doubles each time.
        sleep: sleep function (for tests).

    Raises:
        EngineUnavailableError: litellm is not installed, or is a malicious release.
        ConfigError: no such provider or mode, or a limit that is not above 0.
    """

    tokenizer = None

    def __init__(
        self,
        model: str,
        *,
        mode: ApiMode = "auto",
        api_base: str | None = None,
        rpm: float | None = None,
        tpm: float | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
        concurrency: int = 8,
        top_logprobs: int | None = None,
        context: int | None = None,
        backoff: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if mode not in get_args(ApiMode):
            raise ConfigError(f"mode {mode!r}", hint=f"one of: {', '.join(get_args(ApiMode))}")
        for name, limit in (("rpm", rpm), ("tpm", tpm)):
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name} = {limit}", hint="above 0")
        self._library = _library()
        text, given, info = _known(self._library, model)
        lists = "logprobs" in given and (text or "top_logprobs" in given)
        self.spec = f"litellm:{model}"
        self._model = model
        self._api_base = api_base
        self._text = text if mode == "auto" else mode == "text"
        self._seeds = "seed" in given
        most = 5 if self._text else 20
        self._top = most if top_logprobs is None and lists else (top_logprobs or 0)
        known = info.get("max_input_tokens") or info.get("max_tokens")
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = backoff
        self._sleep = sleep
        self._concurrency = max(1, concurrency)
        self.capabilities = Capabilities(
            logprobs=False,
            generates=True,
            prefix_reuse=False,
            context_tokens=context or int(known or _CONTEXT),
            batch=self._concurrency,
            top_logprobs=self._top,
        )
        self._requests = RateLimit(rpm, sleep=sleep)
        self._tokens = RateLimit(tpm, sleep=sleep)
        self._tokens_a_byte = 0.3  # corrected by every answer
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, ServerPool] = WeakKeyDictionary()
        self._spending = Spending()
        self._closed = False
        _users.append(None)

    @property
    def fingerprint(self) -> str:
        """Model, address, mode, and litellm's version. It does not show if a provider changes the
        model behind a name."""
        asked = [self._model, self._api_base or "", "text" if self._text else "chat"]
        content = hashlib.sha256("\0".join(asked).encode()).hexdigest()
        return f"litellm-{content[:12]}-{_installed_version()}"

    def drop_capabilities(self, lacking: Collection[str]) -> None:
        """See :class:`ecomfs.engine.protocol.SupportsDowngrade`."""
        self.capabilities = self.capabilities.without(lacking)

    @property
    def chat(self) -> ChatModel | None:
        """Turns are sent as messages, which the provider renders; ``None`` for a completion
        model."""
        return None if self._text else ChatModel("messages")

    @property
    def spending(self) -> Spending:
        """See :class:`ecomfs.engine.protocol.SupportsPricing`."""
        return self._spending

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """See :class:`ecomfs.engine.protocol.SupportsPricing`; prices are from litellm's table."""
        return _price(self._library, self._model, prompt_tokens, answer_tokens)

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """An error for every prompt: providers do not score given tokens."""
        message = f"{self.spec} gives no log-probabilities of named tokens"
        error = permanent(EngineResponseError(message, hint="--readout auto"))
        return [error for _ in prompts]

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """See :class:`ecomfs.engine.protocol.SupportsTopTokens`."""
        if not self._top:
            raise ConfigError(f"{self.spec} lists no tokens", hint="--readout auto")
        chat = {"logprobs": True, "top_logprobs": self._top}
        asked = {"logprobs": self._top} if self._text else chat
        options = {"max_tokens": 1, "temperature": 0, **asked}
        return await self._each(prompts, options, lambda a: top_tokens(a, self._text))

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.generate`."""
        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": 0}
        if stop:
            options["stop"] = list(stop)
        if sampling is not None:
            options["temperature"] = sampling.temperature
            if self._seeds:
                options["seed"] = sampling.seed
        return await self._each(prompts, options, lambda a: _generation(a, self._text))

    async def aclose(self) -> None:
        """Close the engine; with the last one, close litellm's connections, which all engines
        share. It may be called twice."""
        if not self._closed:
            self._closed = True
            _users.pop()
            if not _users:  # litellm opens new ones when needed
                await self._library.close_litellm_async_clients()
                self._library.in_memory_llm_clients_cache.flush_cache()

    async def _each(
        self, prompts: Sequence[Prompt], options: dict[str, Any], parse: Callable[[Any], T]
    ) -> list[T | EngineError]:
        async def one(prompt: Prompt) -> T | EngineError:
            async def once() -> T:
                return await self._call(prompt, options, parse)

            try:
                return await retrying(
                    once, attempts=self._attempts, base=self._backoff, sleep=self._sleep
                )
            except EngineError as error:
                return error

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(prompt)) for prompt in prompts]
        answers = [task.result() for task in tasks]
        unavailable = [a for a in answers if isinstance(a, EngineUnavailableError)]
        if unavailable and len(unavailable) == len(answers):
            raise unavailable[0]  # nothing could be read: an error of the call and not of rows
        return answers

    async def _call(self, prompt: Prompt, options: dict[str, Any], parse: Callable[[Any], T]) -> T:
        if self._closed:
            raise permanent(EngineUnavailableError(f"{self.spec}: the engine is closed"))
        size = len(prompt.text.encode())
        expected = size * self._tokens_a_byte + options["max_tokens"]
        pool = self._pool()
        provider, sent = await pool.acquire()
        try:
            await self._requests.take(1)
            await self._tokens.take(expected)
            answer = await self._send(prompt, options)
            asked, answered = _used(answer)
            if asked:
                self._tokens_a_byte = asked / max(size, 1)
                self._tokens.correct(asked + answered - expected)
            self._spending = _spent(self._library, self._model, answer, self._spending)
            value = parse(answer)
        except EngineError as error:
            busy = isinstance(error, ServerStatusError) and error.busy
            if busy or isinstance(error, EngineTimeoutError):
                provider.window.overloaded(sent)
            raise
        else:
            pool.succeeded(provider)
            return value
        finally:
            pool.release(provider)

    async def _send(self, prompt: Prompt, options: dict[str, Any]) -> Any:
        given = {
            "model": self._model,
            "api_base": self._api_base,
            "timeout": self._timeout,
            # Two layers of retries would multiply.
            "max_retries": 0,
            "num_retries": 0,
            "caching": False,
            **options,
        }
        try:
            if self._text:
                text = without_control(prompt.text)
                return await self._library.atext_completion(prompt=text, **given)
            turns = prompt.turns or (Turn("user", prompt.text),)
            messages = [{"role": t.role, "content": without_control(t.text)} for t in turns]
            return await self._library.acompletion(messages=messages, **given)
        except Exception as error:
            raise _translated(error, self.spec) from error

    def _pool(self) -> ServerPool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = ServerPool([self._model], self._concurrency, _no_probe, 0.0)
        return self._pools[loop]


async def _no_probe(_: str) -> None:
    """Never mark the provider unhealthy, since there is no other one."""


def _installed_version() -> str:
    """Version of the installed litellm, found without importing it."""
    try:
        return metadata.version("litellm")
    except metadata.PackageNotFoundError:
        raise EngineUnavailableError(
            "this engine needs litellm, which is not installed", hint=_INSTALL
        ) from None


def _library() -> Any:
    """Import litellm without network access: with its packaged price table, no ``.env`` file and no
    telemetry.

    Raises:
        EngineUnavailableError: it is not installed, or is a malicious release.
    """
    version = _installed_version()
    if version in MALICIOUS:
        raise EngineUnavailableError(
            f"litellm {version} is a release with malicious code and is not imported",
            hint=f"{_INSTALL} --upgrade, and change all secrets on this machine",
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
    litellm.disable_aiohttp_transport = (
        True  # it leaves sessions open, which causes warnings at exit
    )
    litellm.drop_params = False  # an unsupported setting is an error
    return litellm


_users: list[None] = []  # one entry per open engine that uses litellm's connections (atomic)


def _known(litellm: Any, model: str) -> tuple[bool, Collection[str], Mapping[str, Any]]:
    """The entry of a model in litellm's table: whether it is a completion model, its supported
    parameters, and other facts."""
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
    except Exception:  # the class differs between versions: the model is not in the table
        info = {}
    text = provider.startswith("text-completion") or info.get("mode") == "completion"
    return text, given, info


def top_tokens(answer: Any, text: bool) -> TopTokens:
    """The likeliest first tokens of an answer."""
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
        hint = "read the text instead: ?top_logprobs=0"
        message = "the provider listed no likely tokens"
        raise permanent(EngineResponseError(message, hint=hint)) from error
    ordered = sorted(found.items(), key=lambda pair: -pair[1])
    prompt_tokens, cached = _prompt_tokens(answer)
    if (wrong := fault(found.values())) is not None:
        raise wrong
    return TopTokens(dict(ordered), prompt_tokens, cached)


def _generation(answer: Any, text: bool) -> Generation:
    choice = _choice(answer)
    content = choice.text if text else choice.message.content
    return Generation(content or "", *_prompt_tokens(answer))


def _used(answer: Any) -> tuple[int, int]:
    """Tokens of prompt and answer as counted by the provider; 0 if it does not count them."""
    usage = getattr(answer, "usage", None)
    prompt = int(getattr(usage, "prompt_tokens", None) or 0)
    return prompt, int(getattr(usage, "completion_tokens", None) or 0) if prompt else 0


def _spent(litellm: Any, model: str, answer: Any, before: Spending) -> Spending:
    """Add one answered call to ``before``."""
    prompt, answered = _used(answer)
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


def _price(litellm: Any, model: str, prompt_tokens: int, answer_tokens: int) -> float | None:
    """US dollars; ``None`` when litellm has no price for the model."""
    try:
        cost = litellm.cost_per_token(
            model=model, prompt_tokens=prompt_tokens, completion_tokens=answer_tokens
        )
    except Exception:  # of a class that differs between versions
        return None
    return float(sum(cost))


def _translated(error: Exception, spec: str) -> EngineError:
    """Translate an exception of litellm, which has an HTTP status, to an error of ecomfs."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(error, "status_code", None)
    reason = one_line(error, 200)
    if "ContextWindowExceededError" in kinds:
        return ContextOverflowError(
            f"{spec}: the prompt does not fit the model's context",
            hint="fewer demonstrations (--k) or shorter texts",
        )
    if status in (401, 403):
        # The message may contain part of the key.
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
    """Seconds of a ``Retry-After`` header; litellm keeps headers in different places."""
    response = getattr(error, "response", None)
    own = getattr(error, "litellm_response_headers", None)
    for headers in (own, getattr(response, "headers", None)):
        if isinstance(headers, Mapping) and (value := headers.get("retry-after")):
            return retry_after(str(value))
    return 0.0


def _choice(answer: Any) -> Any:
    choices = getattr(answer, "choices", None) or []
    if len(choices) != 1:
        raise EngineResponseError(f"the provider gave {len(choices)} answers to one prompt")
    return choices[0]


def _prompt_tokens(answer: Any) -> tuple[int, int]:
    """Tokens of the prompt, and how many of them the provider had cached."""
    details = getattr(getattr(answer, "usage", None), "prompt_tokens_details", None)
    return _used(answer)[0], int(getattr(details, "cached_tokens", None) or 0)


def _get(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, Mapping) else getattr(value, name)


def _either(known: float | None, value: float) -> float:
    """log(e^a + e^b), for two tokens with the same text."""
    if known is None:
        return value
    top = max(known, value)
    if math.isinf(top):
        return top
    return top + math.log(math.exp(known - top) + math.exp(value - top))
