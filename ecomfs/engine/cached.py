"""A cache of readings in front of an engine.

A reading depends only on the engine's fingerprint, the prompt's tokens and the questions. So second
runs, resumed runs and A/B comparisons send only new prompts.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import struct
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ecomfs.core.cache import ByteCache
from ecomfs.engine import logprobs
from ecomfs.engine.chat import ChatModel, chat_model
from ecomfs.engine.protocol import (
    Capabilities,
    ChosenAnswer,
    Engine,
    Sampling,
    Spending,
    SupportsChoice,
    SupportsPricing,
    SupportsProbe,
    SupportsTopTokens,
    Tokenizer,
    TopTokens,
)
from ecomfs.errors import ConfigError, EngineError
from ecomfs.types import Generation, Prompt, Question, Reading

V = TypeVar("V", Reading, TopTokens)

_TOKENS = struct.Struct("<Q")
_KEY = 16
"""Bytes of a key: half a SHA-256, long enough that keys do not collide."""


class ReadingCache(ByteCache):
    """The cache file of readings."""

    FILE = "readings.sqlite"


class CachedEngine:
    """Puts a :class:`ReadingCache` in front of an engine.

    Errors, generated text and readings that are not distributions (:mod:`ecomfs.engine.logprobs`)
    are never cached; such entries of older versions are removed. A reading from the cache reports
    all its prompt tokens as cached.

    Attributes:
        checks: whether its readings are already checked (:mod:`ecomfs.engine.logprobs`).
        hits, misses: number of readings from the cache and from the engine so far.
        hit_tokens: prompt tokens of the readings from the cache.
    """

    checks = True

    def __init__(self, engine: Engine, cache: ReadingCache) -> None:
        self.engine = engine
        self.cache = cache
        self.hits = 0
        self.misses = 0
        self.hit_tokens = 0
        # Keys one after another: millions may be read between two checks of a server.
        self._unconfirmed: dict[str, bytearray] = {}
        self._confirmed = 0

    @property
    def spec(self) -> str:
        return self.engine.spec

    @property
    def fingerprint(self) -> str:
        return self.engine.fingerprint

    @property
    def _scope(self) -> str:
        """The scope of cached readings: the engine and its salt, if any, so that response times do
        not reveal prompts of another tenant."""
        salt = getattr(self.engine, "cache_salt", None)
        if salt is None:
            return self.fingerprint
        return f"{self.fingerprint}-{hashlib.sha256(salt.encode()).hexdigest()[:16]}"

    @property
    def capabilities(self) -> Capabilities:
        return self.engine.capabilities

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self.engine.tokenizer

    @property
    def chat(self) -> ChatModel | None:
        """As the engine's."""
        return chat_model(self.engine)

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """As the engine's; prompts without token ids are not cached."""

        async def ask(missing: list[int]) -> list[Reading | EngineError]:
            return await logprobs.read(self.engine, [prompts[i] for i in missing], questions)

        packed = [_pack_questions(questions)] * len(prompts)
        return await self._read(prompts, packed, [questions] * len(prompts), ask)

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """As :meth:`read`, with the questions of each prompt."""

        async def ask(missing: list[int]) -> list[Reading | EngineError]:
            asked = [questions[i] for i in missing]
            return await logprobs.read_each(self.engine, [prompts[i] for i in missing], asked)

        packed = [_pack_questions(asked) for asked in questions]
        return await self._read(prompts, packed, questions, ask)

    async def _read(
        self,
        prompts: Sequence[Prompt],
        packed: Sequence[bytes],
        questions: Sequence[Sequence[Question]],
        ask: Callable[[list[int]], Awaitable[list[Reading | EngineError]]],
    ) -> list[Reading | EngineError]:
        keys = _keys(prompts, packed)

        def unpack(place: int, value: bytes) -> Reading | None:
            return _unpack(value, questions[place])

        return await self._through(self._scope, keys, unpack, ask, _pack)

    async def _through(
        self,
        scope: str,
        keys: Sequence[bytes],
        unpack: Callable[[int, bytes], V | None],
        ask: Callable[[list[int]], Awaitable[list[V | EngineError]]],
        pack: Callable[[V], bytes],
    ) -> list[V | EngineError]:
        """Values from the cache; ``ask`` returns the missing ones, by position. Values without a
        key are not cached."""
        known = await self._good(scope, keys, unpack)
        missing = [i for i in range(len(keys)) if i not in known]
        try:
            fresh = await ask(missing) if missing else []
        finally:
            await self._drop_unconfirmed()
        answers: dict[int, V | EngineError] = dict(zip(missing, fresh, strict=True))
        kept = {
            keys[i]: pack(answer)
            for i, answer in answers.items()
            if keys[i] and not isinstance(answer, EngineError)
        }
        if kept:
            await asyncio.to_thread(self.cache.put, scope, kept)
            self._unconfirmed.setdefault(scope, bytearray()).extend(b"".join(kept))
        self.hits += len(known)
        self.hit_tokens += sum(value.prompt_tokens for value in known.values())
        self.misses += len(missing)
        answers.update(known)
        return [answers[i] for i in range(len(keys))]

    async def _drop_unconfirmed(self) -> None:
        """Handle the readings since the last check of a server: keep them if its model is
        unchanged, else remove them, since the model may have changed some minutes ago."""
        engine = self.engine
        if not isinstance(engine, SupportsProbe):
            self._unconfirmed.clear()
        elif engine.swapped:
            for scope, joined in self._unconfirmed.items():
                keys = [bytes(joined[i : i + _KEY]) for i in range(0, len(joined), _KEY)]
                await asyncio.to_thread(self.cache.discard, scope, keys)
            self._unconfirmed.clear()
        elif engine.confirmed != self._confirmed:
            self._confirmed = engine.confirmed
            self._unconfirmed.clear()

    async def known(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[bool]:
        """For each prompt, whether :meth:`read_each` would find its reading in the cache."""
        keys = _keys(prompts, [_pack_questions(asked) for asked in questions])
        found = await self._good(self._scope, keys, lambda i, v: _unpack(v, questions[i]))
        return [i in found for i in range(len(keys))]

    async def _good(
        self, scope: str, keys: Sequence[bytes], unpack: Callable[[int, bytes], V | None]
    ) -> dict[int, V]:
        """Position → unpacked value from the cache; values that cannot be unpacked are removed."""
        stored = await asyncio.to_thread(self.cache.get, scope, [k for k in keys if k])
        found = {i: unpack(i, stored[key]) for i, key in enumerate(keys) if key in stored}
        bad = [keys[i] for i, one in found.items() if one is None]
        if bad:
            await asyncio.to_thread(self.cache.discard, scope, bad)
        return {i: one for i, one in found.items() if one is not None}

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        return await self.engine.generate(
            prompts, max_tokens=max_tokens, stop=stop, sampling=sampling
        )

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """As the engine's (:class:`SupportsTopTokens`); cached, because providers charge for
        them."""
        engine = self.engine
        if not isinstance(engine, SupportsTopTokens):
            raise ConfigError(f"{self.spec} lists no tokens", hint="--readout auto")
        scope = f"top{self.capabilities.top_logprobs}-{self._scope}"
        keys = [_text_key(prompt) for prompt in prompts]

        async def ask(missing: list[int]) -> list[TopTokens | EngineError]:
            return await logprobs.top(engine, [prompts[i] for i in missing])

        return await self._through(scope, keys, lambda i, v: _unpack_top(v), ask, _pack_top)

    async def choose(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[ChosenAnswer | EngineError]:
        """As the engine's (a :class:`SupportsChoice`)."""
        if not isinstance(self.engine, SupportsChoice):
            raise ConfigError(f"{self.spec} cannot choose among answers", hint="--readout auto")
        return await self.engine.choose(prompts, answers)

    @property
    def spending(self) -> Spending:
        """As the engine's; nothing for engines that cost nothing."""
        return self.engine.spending if isinstance(self.engine, SupportsPricing) else Spending()

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """As the engine's; 0 for engines that cost nothing."""
        if isinstance(self.engine, SupportsPricing):
            return self.engine.price(prompt_tokens, answer_tokens)
        return 0.0

    async def aclose(self) -> None:
        self.cache.close()
        await self.engine.aclose()


def _pack_questions(questions: Sequence[Question]) -> bytes:
    parts: list[int] = []
    for question in questions:
        parts += [len(question.suffix), *question.suffix, len(question.codes), *question.codes]
    return array("q", parts).tobytes()


def _keys(prompts: Sequence[Prompt], packed: Sequence[bytes]) -> list[bytes]:
    """The keys of the cache; empty for prompts without token ids, which are not cached."""
    return [
        _key(prompt, asked) if prompt.token_ids else b""
        for prompt, asked in zip(prompts, packed, strict=True)
    ]


def _text_key(prompt: Prompt) -> bytes:
    """The key of a prompt without token ids, made from its turns: different turns can have the same
    text."""
    if not prompt.text:
        return b""
    text = json.dumps(prompt.turns) if prompt.turns else prompt.text
    return hashlib.sha256(text.encode()).digest()[:_KEY]


def _key(prompt: Prompt, asked: bytes) -> bytes:
    ids = prompt.token_ids
    return hashlib.sha256(asked + struct.pack(f"={len(ids)}q", *ids)).digest()[:_KEY]


def _pack(reading: Reading) -> bytes:
    one = len(reading.logprobs) == 1
    values = array("d", reading.logprobs[0] if one else itertools.chain(*reading.logprobs))
    return _TOKENS.pack(reading.prompt_tokens) + values.tobytes()


def _unpack(value: bytes, questions: Sequence[Question]) -> Reading | None:
    """The reading; ``None`` if the value is not valid (incomplete, or from a version that did not
    check)."""
    try:
        (prompt_tokens,) = _TOKENS.unpack_from(value)
        values = array("d", value[_TOKENS.size :])
    except (struct.error, ValueError):
        return None
    parts, start = [], 0
    for question in questions:
        parts.append(tuple(values[start : start + len(question.codes)]))
        start += len(question.codes)
    found = Reading(tuple(parts), prompt_tokens, cached_tokens=prompt_tokens)
    return None if isinstance(logprobs.checked(found, questions), EngineError) else found


def _pack_top(listed: TopTokens) -> bytes:
    return json.dumps([listed.prompt_tokens, list(listed.logprobs.items())]).encode()


def _unpack_top(value: bytes) -> TopTokens | None:
    """``None`` as for :func:`_unpack`."""
    try:
        tokens, pairs = json.loads(value)
        found = TopTokens({str(text): float(p) for text, p in pairs}, int(tokens), int(tokens))
    except (ValueError, TypeError):
        return None
    return None if isinstance(logprobs.checked_list(found), EngineError) else found
