"""A served engine: one or several vLLM servers over HTTP.

Many prompts travel in one request, as token ids (the server's own tokenizer has no say in what is
plain text). One token is sampled under ``allowed_token_ids``, which proves that the constraint
bites; the log-probabilities come from ``logprob_token_ids`` and are those of the *unmasked*
distribution (vLLM's ``--logprobs-mode raw_logprobs``, the default).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ecomfs.engine import vllm_wire as wire
from ecomfs.engine.files import folder_digest
from ecomfs.engine.protocol import Capabilities, Tokenizer
from ecomfs.engine.retry import permanent, retrying
from ecomfs.engine.served_tokenizer import ServerApi, served_tokenizer
from ecomfs.engine.transport import Transport
from ecomfs.errors import (
    ConfigError,
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineUnavailableError,
    ModelError,
)
from ecomfs.types import Generation, Prompt, Question, Reading

T = TypeVar("T")


class VllmEngine:
    """Reads a model served by vLLM.

    Args:
        url: address of a server, or of several that serve the same model (the least busy one
            gets the next request; when one is gone the others take over).
        model: which served model; default: the only or first one.
        api_key: default ``$ECOMFS_VLLM_API_KEY``.
        timeout: seconds a request may take. A CPU server with many prompts in flight needs
            minutes.
        attempts: how often a request is sent at most.
        prompts_per_request: prompts in one request.
        concurrency: requests in flight at once, over all servers.
        backoff: first pause before a repetition, in seconds; doubles each time.
        sleep: how to wait (tests measure it).

    Raises:
        ConfigError: ``url`` is not an http(s) address.
        EngineUnavailableError: nothing answers there.
        ModelError: ``model`` is not served there, or the servers serve different ones.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        attempts: int = 5,
        prompts_per_request: int = 16,
        concurrency: int = 8,
        backoff: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._urls = [checked_url(u) for u in ([url] if isinstance(url, str) else url)]
        if not self._urls:
            raise ConfigError("vllm: no address given", hint="vllm:http://host:8000")
        key = api_key or os.environ.get("ECOMFS_VLLM_API_KEY")
        cards = [_served(ServerApi(u, api_key=key), model) for u in self._urls]
        if len({card["id"] for card in cards}) > 1:
            raise ModelError(
                f"the servers serve different models: {', '.join(c['id'] for c in cards)}",
                hint="name one with model=…, or give servers of one model",
            )
        api = ServerApi(self._urls[0], api_key=key)
        self._model: str = cards[0]["id"]
        root = cards[0].get("root")
        self._context = min(int(card.get("max_model_len") or 2048) for card in cards)
        self._tokenizer = served_tokenizer(api, model=self._model, root=root)
        self._fingerprint = _identify(api, self._model, root)
        self._attempts = attempts
        self._backoff = backoff
        self._sleep = sleep
        self._per_request = max(1, prompts_per_request)
        self._concurrency = max(1, concurrency)
        self._transport = Transport(
            self._urls, api_key=key, timeout=timeout, concurrency=self._concurrency
        )
        self._closed = False

    @property
    def spec(self) -> str:
        return "vllm:" + ",".join(self._urls)

    @property
    def fingerprint(self) -> str:
        """Model, its content where its folder is on this machine, and vLLM's version. What a
        remote server hides (precision, quantisation) is not in it."""
        return self._fingerprint

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            logprobs=True,
            generates=True,
            prefix_reuse=True,
            context_tokens=self._context,
            batch=self._per_request * self._concurrency,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.read`.

        vLLM tells the cached tokens of the *last* prompt of a request only; for the others
        ``cached_tokens`` is 0. :meth:`cache_counters` has the server's own totals.
        """
        parts = wire.parts_of(questions)
        answers: list[dict[int, wire.Look] | EngineError] = [{} for _ in prompts]

        async def job(group: list[int]) -> None:
            # One part after another: from the second on, the prompts are in the server's cache.
            for n in range(len(parts)):
                await self._look(prompts, group, parts, n, answers)

        await self._all([job(group) for group in self._groups(prompts)])
        readings = [
            a if isinstance(a, EngineError) else wire.reading(a, parts, questions) for a in answers
        ]
        _raise_if_gone(readings)
        return readings

    async def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[Generation | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.generate`."""
        results: list[Generation | EngineError | None] = [None] * len(prompts)
        body = {"max_tokens": max_tokens, "temperature": 0, "stop": list(stop)}

        async def job(group: list[int]) -> None:
            ids = [self._ids(prompts[i], max_tokens) for i in group]
            for i, answer in zip(group, await self._ask(ids, body, wire.texts), strict=True):
                results[i] = answer

        await self._all([job(group) for group in self._groups(prompts)])
        done = [
            r or EngineResponseError(f"{self.spec}: no answer for this prompt") for r in results
        ]
        _raise_if_gone(done)
        return done

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """The most likely token among ``allowed``: shows whether the server's constraint bites."""
        ids = self._ids(prompt, 1)
        if isinstance(ids, EngineError):
            raise ids
        body = wire.question_body(tuple(allowed)[: wire.MAX_CODES])
        return await self._retry(lambda: self._pick({"prompt": [ids], **body}))

    async def cache_counters(self) -> tuple[int, int] | None:
        """Prefix-cache (hits, queries) in tokens since the servers started, from all their
        clients together; ``None`` when they do not tell."""
        texts = [await self._transport.text(url, "/metrics") for url in self._urls]
        counters = [wire.cache_counters(text) for text in texts if text is not None]
        known = [c for c in counters if c is not None]
        if not known:
            return None
        return sum(hits for hits, _ in known), sum(queries for _, queries in known)

    async def aclose(self) -> None:
        """Close the connections; closing twice is fine."""
        self._closed = True
        await self._transport.aclose()

    # -- inside -----------------------------------------------------------------------------

    def _groups(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        # Equal prefixes in one request: the server computes them once and keeps them.
        order = sorted(range(len(prompts)), key=lambda i: (prompts[i].token_ids, prompts[i].text))
        size = self._per_request
        return [order[i : i + size] for i in range(0, len(order), size)]

    async def _look(
        self,
        prompts: Sequence[Prompt],
        group: list[int],
        parts: Sequence[wire.Part],
        n: int,
        answers: list[dict[int, wire.Look] | EngineError],
    ) -> None:
        part = parts[n]
        asked = [self._ids(prompts[i], 1, part.suffix) for i in group]
        looks = await self._ask(
            asked, wire.question_body(part.codes), lambda a, p: wire.looks(a, p, part.codes)
        )
        for i, look in zip(group, looks, strict=True):
            known = answers[i]
            if isinstance(known, EngineError):
                continue
            if isinstance(look, EngineError):
                answers[i] = look
            else:
                known[n] = look

    def _ids(
        self, prompt: Prompt, room: int, suffix: tuple[int, ...] = ()
    ) -> list[int] | EngineError:
        ids = [*(prompt.token_ids or self._tokenizer.encode(prompt.text, bos=True)), *suffix]
        if len(ids) + room > self._context:
            return ContextOverflowError(
                f"{self._model}: a prompt of {len(ids)} tokens and {room} to answer do not fit "
                f"the context of {self._context}",
                hint="fewer demonstrations (--k), shorter texts, or a larger --max-model-len",
            )
        return ids

    async def _ask(
        self,
        asked: Sequence[list[int] | EngineError],
        body: dict[str, Any],
        parse: Callable[[dict[str, Any], list[list[int]]], list[Any]],
    ) -> list[Any]:
        """One request for all prompts of ``asked``; what the server refuses as a whole (HTTP
        4xx) is asked again one by one, so that one bad prompt fails alone."""
        good = [i for i, ids in enumerate(asked) if not isinstance(ids, EngineError)]
        results: list[Any] = list(asked)
        prompts = [results[i] for i in good]
        if not prompts:
            return results

        async def once() -> list[Any]:
            return parse(await self._post({"prompt": prompts, **body}), prompts)

        try:
            answers: list[Any] = await self._retry(once)
        except wire.RefusedError as error:
            if len(prompts) == 1:
                answers = [error]
            else:
                answers = []
                for ids in prompts:
                    answers += await self._ask([ids], body, parse)
        except EngineError as error:
            answers = [error] * len(prompts)
        for i, answer in zip(good, answers, strict=True):
            results[i] = answer
        return results

    async def _pick(self, body: dict[str, Any]) -> int:
        return wire.sampled(await self._post(body))

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        return await retrying(call, attempts=self._attempts, base=self._backoff, sleep=self._sleep)

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._closed:
            raise permanent(EngineUnavailableError(f"{self.spec}: the engine is closed"))
        return await self._transport.post("/v1/completions", {"model": self._model, **body})

    @staticmethod
    async def _all(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
        # A task group cancels the rest when one job fails or the caller gives up.
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(job)
        except* EngineError as errors:
            raise errors.exceptions[0] from None


def checked_url(url: str) -> str:
    """An http(s) address without a trailing slash or ``/v1``.

    >>> checked_url("http://localhost:8000/v1/")
    'http://localhost:8000'
    >>> checked_url("localhost:8000")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 'localhost:8000' is not an address (write vllm:http://host:8000)
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{url!r} is not an address", hint="write vllm:http://host:8000")
    return url.rstrip("/").removesuffix("/v1")


def _served(api: ServerApi, model: str | None) -> dict[str, Any]:
    cards = api.call("/v1/models").get("data")
    if not isinstance(cards, list) or not cards or not all("id" in card for card in cards):
        raise EngineResponseError(f"{api.url}/v1/models names no model")
    card: dict[str, Any] | None = next((c for c in cards if model in (None, c["id"])), None)
    if card is None:
        raise ModelError(
            f"{api.url} does not serve {model!r}",
            hint=f"it serves: {', '.join(c['id'] for c in cards)}",
        )
    return card


def _identify(api: ServerApi, model: str, root: str | None) -> str:
    from hashlib import sha256
    from pathlib import Path

    version = api.call("/version").get("version", "unknown")
    folder = Path(root) if root else None
    if folder is not None and (folder / "config.json").is_file():
        content = folder_digest(folder)
    else:
        content = sha256(json.dumps([model, root]).encode()).hexdigest()
    return f"vllm-{content[:12]}-{version}"


def _raise_if_gone(results: Sequence[Any]) -> None:
    """Nothing at all could be read: that is the caller's error, not the rows'."""
    if results and all(isinstance(r, EngineUnavailableError) for r in results):
        raise results[0]
