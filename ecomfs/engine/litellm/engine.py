"""A hosted model of any provider, through litellm's library (never its proxy).

Providers name no token ids and show no tokenizer, so labels are read from the likeliest next
tokens where the provider lists them, else from the generated text. litellm translates between
providers; time-outs, limits and retries are this package's own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Literal, TypeVar, get_args
from weakref import WeakKeyDictionary

from ecomfs.core.retry import permanent, retrying
from ecomfs.engine.chat import ChatModel, without_control
from ecomfs.engine.litellm import wire
from ecomfs.engine.protocol import Capabilities, Sampling, Spending, TopTokens
from ecomfs.engine.servers import RateLimit, ServerPool
from ecomfs.errors import (
    ConfigError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    ServerStatusError,
)
from ecomfs.types import Generation, Prompt, Question, Reading, Turn

T = TypeVar("T")
ApiMode = Literal["auto", "chat", "text"]

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
        attempts: how often a request is sent at most.
        concurrency: requests in flight at most; fewer while the provider answers 429 or 503.
        top_logprobs: how many of the likeliest tokens to ask for; default: as many as the
            provider gives (20 in chats, 5 in completions), 0 where litellm's table has
            none. 0 reads the text.
        context: longest prompt plus answer, in tokens; default: from litellm's table.
        backoff: first pause before a repetition, in seconds; doubles each time.
        sleep: how to wait.

    Raises:
        EngineUnavailableError: litellm is not installed, or is a version that must not run.
        ConfigError: no such provider or mode, or a limit that is not above 0.
    """

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
        self._library = wire.library()
        known = wire.known(self._library, model)
        self._model = model
        self._api_base = api_base
        self._text = known.text if mode == "auto" else mode == "text"
        self._seeds = known.seeds
        most = 5 if self._text else 20
        self._top = most if top_logprobs is None and known.lists else (top_logprobs or 0)
        self._lacking: frozenset[str] = frozenset()
        self._context = context or known.context or _CONTEXT
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = backoff
        self._sleep = sleep
        self._concurrency = max(1, concurrency)
        self._requests = RateLimit(rpm, sleep=sleep)
        self._tokens = RateLimit(tpm, sleep=sleep)
        self._tokens_a_byte = 0.3  # corrected by every answer
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, ServerPool] = WeakKeyDictionary()
        self._spending = Spending()
        self._closed = False
        wire.hold()

    @property
    def spec(self) -> str:
        return f"litellm:{self._model}"

    @property
    def fingerprint(self) -> str:
        """Model, address, way of asking, and litellm's version. What a provider changes behind a
        model's name is not in it."""
        asked = [self._model, self._api_base or "", "text" if self._text else "chat"]
        content = hashlib.sha256("\0".join(asked).encode()).hexdigest()
        return f"litellm-{content[:12]}-{wire.installed_version()}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            logprobs=False,
            generates=True,
            prefix_reuse=False,
            context_tokens=self._context,
            batch=self._concurrency,
            top_logprobs=self._top,
        ).without(self._lacking)

    def drop_capabilities(self, lacking: Collection[str]) -> None:
        """See :class:`ecomfs.engine.protocol.SupportsDowngrade`."""
        self._lacking |= frozenset(lacking)

    @property
    def chat(self) -> ChatModel | None:
        """Turns are sent as messages, which the provider puts into its model's frame; a model that
        completes texts takes none."""
        return None if self._text else ChatModel("messages")

    @property
    def tokenizer(self) -> None:
        return None

    @property
    def spending(self) -> Spending:
        """See :class:`ecomfs.engine.protocol.SupportsPricing`."""
        return self._spending

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """See :class:`ecomfs.engine.protocol.SupportsPricing`; by the price table of litellm."""
        return wire.price(self._library, self._model, prompt_tokens, answer_tokens)

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """An error for every prompt: providers cannot be asked about named tokens."""
        error = permanent(
            EngineResponseError(
                f"{self.spec} gives no log-probabilities of named tokens", hint="--readout auto"
            )
        )
        return [error for _ in prompts]

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """See :class:`ecomfs.engine.protocol.SupportsTopTokens`."""
        if not self._top:
            raise ConfigError(f"{self.spec} lists no tokens", hint="--readout auto")
        options = {"max_tokens": 1, "temperature": 0, **wire.asks_for_top(self._top, self._text)}
        return await self._each(prompts, options, lambda a: wire.top_tokens(a, self._text))

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
        return await self._each(prompts, options, lambda a: wire.generation(a, self._text))

    async def aclose(self) -> None:
        """Close litellm's connections, which all its engines share, with the last engine; closing
        twice is fine."""
        if not self._closed:
            self._closed = True
            await wire.release(self._library)

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
            raise unavailable[0]  # nothing could be read: an error of the call, not of its rows
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
            used = wire.used(answer)
            if used is not None:
                self._tokens_a_byte = used[0] / max(size, 1)
                self._tokens.correct(sum(used) - expected)
            self._spending = wire.spent(self._library, self._model, answer, self._spending)
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
            raise wire.translated(error, self.spec) from error

    def _pool(self) -> ServerPool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = ServerPool([self._model], self._concurrency, _no_probe, 0.0)
        return self._pools[loop]


async def _no_probe(_: str) -> None:
    """A provider is never marked unhealthy: there is no other one."""
