"""The canary: start-up checks of an engine, on which all results depend.

Servers may drop unknown fields and answer HTTP 200 with unconstrained text, converted tokenizers
may lose their first token, and gateways may renormalise log-probabilities. The canary finds this in
about a second, before the first row is scored.

A server reports only the name of its model, and another model may have this name tomorrow. So
readings of the canary's prompts (:func:`probe`) are part of the fingerprint. Readings of one model
differ slightly by batch, precision and machine, so they are compared with a tolerance. If a similar
fingerprint was seen on this machine before, it is used, so that cached readings stay valid.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from ecomfs.core.cache import ByteCache, cache_folder
from ecomfs.core.retry import permanent
from ecomfs.engine import logprobs
from ecomfs.engine.chat import chat_model, frame_checked
from ecomfs.engine.protocol import (
    Engine,
    SupportsChoice,
    SupportsPerServer,
    SupportsTokenConstraint,
    SupportsTopTokens,
    Tokenizer,
)
from ecomfs.errors import (
    CanaryError,
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineUnavailableError,
    InvalidLogprobsError,
)
from ecomfs.types import Prompt, Question, Reading, TemplateRef

T = TypeVar("T")
Probe = tuple[int, ...]
"""Log-probabilities of a few tokens, in tenths of nats below zero."""

TOLERANCE = 3
"""Largest difference of readings of one model, in tenths of nats: bfloat16 has steps of an
eighth."""

logger = logging.getLogger(__name__)
_PROBE = re.compile(r"-p(\d+(?:\.\d+)*)$")
_MOST = 999  # -inf


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes:
        detail: what was measured.
        hint: how to fix it; empty when ok.
        required: whether results would be unreliable if it fails.
        lacks: a capability that the engine claims but does not have; empty if none.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""
    required: bool = True
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """The checks of :func:`canary`.

    Attributes:
        engine, fingerprint: spec and fingerprint of the engine.
        checks: the checks in order.
        moment: time of the checks in UTC (ISO 8601).
    """

    engine: str
    fingerprint: str
    checks: tuple[Check, ...]
    moment: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest of a run."""
        return {**asdict(self), "checks": [asdict(c) for c in self.checks], "ok": self.ok}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CanaryReport:
        """The report that :meth:`as_dict` wrote.

        >>> report = CanaryReport("gguf:m", "f", (Check("constraint enforced", True, "yes"),))
        >>> CanaryReport.from_dict(report.as_dict()) == report
        True
        """
        checks = tuple(Check(**check) for check in values["checks"])
        return cls(values["engine"], values["fingerprint"], checks, values["moment"])

    @property
    def ok(self) -> bool:
        """Whether every required check passed."""
        return all(check.ok for check in self.checks if check.required)

    @property
    def lacking(self) -> frozenset[str]:
        """Capabilities that the engine claims but does not have; see
        :meth:`ecomfs.engine.protocol.Capabilities.without`."""
        return frozenset(check.lacks for check in self.checks if check.lacks)

    def require(self) -> CanaryReport:
        """Return this report if all required checks passed.

        Raises:
            CanaryError: a required check failed; the hint says how to fix it.
        """
        for check in self.checks:
            if check.required and not check.ok:
                raise CanaryError(f"{self.engine}: {check.name}: {check.detail}", hint=check.hint)
        return self


CHECKS = 1
"""Version of this set of checks: a model that passed another version is checked again."""

CODES = tuple(f" {letter}" for letter in "ABCDEFGHIJ")
"""Answer codes that are checked unless others are given: letters after a space."""

_TEMPLATE = TemplateRef("canary", "0" * 12)
_CUE = "Label:"
_SENTENCE = "The capital of France is"
# Any language model predicts most of these continuations. The best one has a probability of 0.11
# with Gemma 3 270M without BOS, 0.74 with it, and 0.77 with SmolLM2 135M.
_CERTAIN = (
    (_SENTENCE, " Paris"),
    ("one two three four five six seven", " eight"),
    ("Monday Tuesday Wednesday Thursday Friday Saturday", " Sunday"),
)
_SURE = 0.3
_PREFIX = "Each line is a review and its label.\n" + "".join(
    f"Review: order number {n} came in time and works well\nLabel: positive\n" for n in range(8)
)
_REVIEW = f"{_PREFIX}Review: broke at once\n{_CUE}"
_THINKING = ("<think", "<|channel|>", "<reasoning", "◁think▷", "[THINK]")
_STEADY = 0.05  # nats; bfloat16 batches differ by some hundredths
_SHORT_CONTEXT = 1024


async def canary(engine: Engine, codes: Sequence[str] | None = None) -> CanaryReport:
    """Check an engine before the first row is scored. It takes about a second, and a few seconds on
    a CPU server.

    Args:
        engine: any engine.
        codes: the answer codes to be read, with their leading space; default: :data:`CODES`.

    Raises:
        EngineUnavailableError: nothing answers.
    """
    codes = CODES if codes is None else codes
    checks: list[Check] = []
    tokenizer = engine.tokenizer
    if tokenizer is not None and engine.capabilities.logprobs:
        reads = _LogprobChecks(engine, tokenizer, codes)
        named = await _guarded("log-probabilities", True, reads.logprobs, "logprobs")
        checks.append(named)
        rest = (
            ("codes are single tokens", True, reads.single_tokens),
            ("constraint enforced", True, reads.constraint),
            ("beginning of sequence", True, reads.sense),
            ("context length", True, reads.context),
            ("room for demonstrations", False, reads.room),
            ("repeatable", False, reads.repeats),
            ("prefix reuse", False, reads.prefix),
        )
        for name, required, check in () if named.lacks else rest:
            checks.append(await _guarded(name, required, check))
    else:
        checks.append(
            Check(
                "log-probabilities",
                False,
                "this engine gives none of named tokens: labels are read from its likely tokens "
                "or parsed from generated text",
                "gguf:, transformers:, vllm: and vllm-local: engines give exact probabilities",
                required=False,
            )
        )
    checks.append(await _guarded("chat frame", False, lambda: _chat_frame(engine)))
    exact = engine.capabilities.logprobs and not checks[0].lacks
    if isinstance(engine, SupportsTopTokens) and engine.capabilities.top_logprobs:
        # Labels are read from them if the engine offers nothing better.
        likely = await _guarded("likely tokens", not exact, lambda: _likely(engine), "top_logprobs")
        checks.append(likely)
    if isinstance(engine, SupportsChoice) and engine.capabilities.choice:
        checks.append(await _guarded("choice enforced", False, lambda: _choice(engine), "choice"))
    if engine.capabilities.generates:
        checks.append(await _guarded("no thinking", True, lambda: _thinking(engine)))
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return CanaryReport(engine.spec, engine.fingerprint, tuple(checks), moment)


async def probe(engine: Engine) -> Probe:
    """Readings of two of the canary's prompts; empty if the engine gives no log-probabilities of
    given tokens.

    Raises:
        EngineError: the engine cannot be read.
    """
    tokenizer = engine.tokenizer
    if tokenizer is None or not engine.capabilities.logprobs:
        return ()
    checks = _LogprobChecks(engine, tokenizer)
    found: list[float] = []
    for text, answers in ((_SENTENCE, CODES[:4]), (_REVIEW, (" positive", " negative"))):
        ids = [await checks.after(_CUE, answer) for answer in answers]
        found += (await checks.read(await checks.prompt(text), ids)).logprobs[0]
    return probe_of(found)


async def canary_each(
    engine: Engine, codes: Sequence[str] | None = None
) -> tuple[CanaryReport, ...]:
    """Run :func:`canary` for every server of an engine, or for an engine without servers."""
    if not isinstance(engine, SupportsPerServer):
        return (await canary(engine, codes),)
    parts = engine.per_server()
    try:
        return tuple([await canary(part, codes) for part in parts])
    finally:
        for part in parts:
            await part.aclose()


_Outcome = tuple[bool, str, str]  # ok, detail, hint


async def _guarded(
    name: str, required: bool, check: Callable[[], Awaitable[_Outcome]], proves: str = ""
) -> Check:
    """Run one check. ``proves`` is the capability that counts as missing if the engine cannot
    answer at all (a wrong answer is a failed check)."""
    try:
        ok, detail, hint = await check()
    except EngineUnavailableError:
        raise
    except EngineError as error:
        if proves and not error.retryable and not isinstance(error, InvalidLogprobsError):
            return Check(name, False, error.message, error.hint, False, lacks=proves)
        return Check(name, False, error.message, error.hint, required)
    return Check(name, ok, detail, "" if ok else hint, required)


def _given(answer: T | EngineError) -> T:
    if isinstance(answer, EngineError):
        raise answer
    return answer


async def _encoded(tokenizer: Tokenizer, text: str, *, bos: bool = False) -> list[int]:
    # A remote tokenizer asks its server; rows may be in flight on this event loop.
    return await asyncio.to_thread(tokenizer.encode, text, bos=bos)


async def _thinking(engine: Engine) -> _Outcome:
    text = "Review: great product\nLabel: positive\nReview: broke at once\nLabel:"
    token_ids = await _encoded(engine.tokenizer, text, bos=True) if engine.tokenizer else ()
    (answer,) = await engine.generate([Prompt(text, _TEMPLATE, tuple(token_ids))], max_tokens=8)
    text = _given(answer).text.strip()
    bad = any(mark in text for mark in _THINKING)
    return not bad, f"answers {text[:40]!r}", "switch thinking off in the model or its template"


async def _chat_frame(engine: Engine) -> _Outcome:
    """Control tokens of the chat template are single tokens, and plain characters in a row."""

    def look() -> _Outcome:  # a server renders its template; rows may be in flight
        model = chat_model(engine)
        if model is None:
            return True, "no chat template: prompts are completions", ""
        ok, seen = frame_checked(model, engine.tokenizer)
        return ok, seen, "use --format completion"

    return await asyncio.to_thread(look)


async def _likely(engine: SupportsTopTokens) -> _Outcome:
    """Check that the likeliest next tokens are listed with valid probabilities."""
    (answer,) = await engine.top([Prompt(_REVIEW, _TEMPLATE)])
    likely = _given(answer).logprobs
    mass = sum(map(math.exp, likely.values()))
    if len(likely) < 2 or not mass <= 1 + logprobs.SLACK:
        hint = "read the text instead: litellm:…?top_logprobs=0"
        return False, f"{len(likely)} tokens that sum to {mass:.3f}", hint
    return True, f"{len(likely)} tokens, mass {mass:.2f}, first {next(iter(likely))!r}", ""


async def _choice(engine: SupportsChoice) -> _Outcome:
    """Check that the answer is one of the given ones, even if all of them are unlikely."""
    answers = (" violin", " seventeen")
    (answer,) = await engine.choose([Prompt(_SENTENCE, _TEMPLATE)], answers)
    said = _given(answer).text
    text = " ".join(said.split())[:40]
    if said not in answers:
        raise permanent(
            EngineResponseError(
                f"answers {text!r}, which is not one of {len(answers)} answers",
                hint="the server ignores structured_outputs: update vLLM, or bypass the gateway",
            )
        )
    return True, f"answers {text!r}, one of {len(answers)}", ""


class _LogprobChecks:
    """The checks that read log-probabilities."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, codes: Sequence[str] = CODES) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._codes = codes

    async def prompt(self, text: str) -> Prompt:
        return Prompt(text, _TEMPLATE, tuple(await _encoded(self._tokenizer, text, bos=True)))

    async def after(self, text: str, answer: str) -> int:
        """The first token of ``answer`` after ``text``."""
        whole = await _encoded(self._tokenizer, text + answer)
        before = await _encoded(self._tokenizer, text)
        if len(whole) <= len(before):
            raise EngineResponseError(f"{answer!r} after {text!r} is no token")
        return whole[len(before)] if whole[: len(before)] == before else whole[-1]

    async def read(self, prompt: Prompt, codes: Sequence[int]) -> Reading:
        (answer,) = await logprobs.read(self._engine, [prompt], [Question(tuple(codes))])
        return _given(answer)

    async def logprobs(self) -> _Outcome:
        """Check that log-probabilities are returned and not masked: letters are unlikely at the end
        of a sentence, but with a mask they would have all of the probability. Each read checks
        itself that they are a distribution."""
        ids = list(dict.fromkeys([await self.after(_CUE, code) for code in self._codes]))
        (values,) = (await self.read(await self.prompt(_SENTENCE), ids)).logprobs
        mass = sum(map(math.exp, values))
        return mass <= 0.95, f"mass of unlikely codes {mass:.2g}", _RAW

    async def single_tokens(self) -> _Outcome:
        """Check that each code is a single token that does not change the tokens before it."""
        before = await _encoded(self._tokenizer, _CUE)
        seen: dict[int, str] = {}
        for code in self._codes:
            ids = await _encoded(self._tokenizer, _CUE + code)
            own = ids[len(before) :]
            if ids[: len(before)] != before or len(own) != 1:
                return False, f"{code!r} after {_CUE!r} is {len(own)} tokens", "choose other codes"
            if own[0] in seen:
                return False, f"{code!r} and {seen[own[0]]!r} are one token", "choose other codes"
            seen[own[0]] = code
        return True, f"{len(self._codes)} of {len(self._codes)}", ""

    async def constraint(self) -> _Outcome:
        """Check that only an allowed token is sampled, even if all of them are unlikely."""
        engine = self._engine
        if not isinstance(engine, SupportsTokenConstraint):
            return True, "none is needed: the distribution is read directly", ""
        allowed = {await self.after(_CUE, code) for code in self._codes}
        picked = await engine.pick(await self.prompt(_SENTENCE), sorted(allowed))
        text = await asyncio.to_thread(self._tokenizer.decode, [picked])
        return (
            picked in allowed,
            f"sampled {text!r} under {len(allowed)} allowed codes",
            "the server ignores allowed_token_ids: update vLLM, or bypass the gateway",
        )

    async def sense(self) -> _Outcome:
        """Check that the model predicts plain text; without its BOS token it would not."""
        best, where = 0.0, ""
        for text, answer in _CERTAIN:
            reading = await self.read(await self.prompt(text), [await self.after(text, answer)])
            p = math.exp(reading.logprobs[0][0])
            if p > best:
                best, where = p, text + answer
        return (
            best >= _SURE,
            f"{where!r} {best:.2f}",
            "the tokenizer may lack the model's beginning-of-sequence token "
            "(add_bos_token in tokenizer_config.json), or the model file is damaged",
        )

    async def context(self) -> _Outcome:
        """Check that a prompt that is too long is refused and not cut."""
        limit = self._engine.capabilities.context_tokens
        token = await self.after(_CUE, CODES[0])
        (answer,) = await self._engine.read(
            [Prompt("", _TEMPLATE, (token,) * (limit + 1))], [Question((token,))]
        )
        if not isinstance(answer, ContextOverflowError):
            return False, f"a prompt of {limit + 1} tokens was not refused", "report the engine"
        return True, f"{limit} tokens; longer prompts are refused", ""

    async def room(self) -> _Outcome:
        """Check that the context has room for demonstrations."""
        limit = self._engine.capabilities.context_tokens
        return limit >= _SHORT_CONTEXT, f"{limit} tokens", "a larger context holds more of them"

    async def repeats(self) -> _Outcome:
        """Check that a prompt has the same reading after another one."""
        codes = [await self.after(_CUE, " positive"), await self.after(_CUE, " negative")]
        texts = (_REVIEW, _SENTENCE, _REVIEW)
        first, _, second = [
            (await self.read(await self.prompt(text), codes)).logprobs[0] for text in texts
        ]
        delta = max(abs(a - b) for a, b in zip(first, second, strict=True))
        return delta <= _STEADY, f"differs by {delta:.2g} nats", "results will vary in near ties"

    async def prefix(self) -> _Outcome:
        """Check that the shared prefix of two prompts is not computed twice."""
        codes = [await self.after(_CUE, " positive")]
        for review in ("a fine lamp", "poor battery"):
            prompt = await self.prompt(f"{_PREFIX}Review: {review}\n{_CUE}")
            reading = await self.read(prompt, codes)
        return (
            reading.cached_tokens > 0,
            f"{reading.cached_tokens} of {reading.prompt_tokens} tokens",
            "vLLM: --enable-prefix-caching --enable-prompt-tokens-details; on CPU --block-size 32",
        )


_RAW = "vLLM: --logprobs-mode raw_logprobs (its default); a gateway may change them"


def probe_of(logprobs: Sequence[float]) -> Probe:
    """Log-probabilities in the form that is stored.

    >>> probe_of([-0.123, -7.89, float("-inf")])
    (1, 79, 999)
    """
    return tuple(round(min(max(-10 * value, 0), _MOST)) for value in logprobs)


def near(one: Probe, other: Probe) -> bool:
    """Whether two probes may come from the same weights.

    >>> near((1, 79), (3, 77)), near((1, 79), (5, 79)), near((1,), (1, 79))
    (True, False, False)
    """
    return len(one) == len(other) and all(
        abs(a - b) <= TOLERANCE for a, b in zip(one, other, strict=True)
    )


def with_probe(fingerprint: str, probe: Probe) -> str:
    """A fingerprint with a probe appended; unchanged for an empty probe.

    >>> with_probe("vllm-0a1b-0.15.0", (1, 79)), with_probe("vllm-0a1b-0.15.0", ())
    ('vllm-0a1b-0.15.0-p1.79', 'vllm-0a1b-0.15.0')
    """
    return f"{fingerprint}-p{'.'.join(map(str, probe))}" if probe else fingerprint


def same_model(one: str, other: str) -> bool:
    """Whether two fingerprints may be of the same model. If one of them has no probe, the rest is
    compared.

    >>> same_model("vllm-0a1b-0.15.0-p1.79", "vllm-0a1b-0.15.0-p2.78")
    True
    >>> same_model("vllm-0a1b-0.15.0-p1.79", "vllm-0a1b-0.15.0-p40.2")
    False
    >>> same_model("vllm-0a1b-0.15.0-p1.79", "vllm-0a1b-0.15.0")
    True
    """
    (base, probe), (other_base, other_probe) = map(_parts, (one, other))
    return base == other_base and (not probe or not other_probe or near(probe, other_probe))


def seen_before(fingerprint: str, probe: Probe) -> Probe:
    """The stored probe of this model on this machine that is near the given one; a new probe is
    stored.

    Args:
        fingerprint: fingerprint without a probe.
        probe: current probe.
    """
    key = fingerprint.encode()
    with closing(ByteCache(cache_folder() / "probes.sqlite")) as cache:
        kept = cache.get("probe", [key]).get(key, b"[]")
        known = [tuple(map(int, one)) for one in json.loads(kept)]
        for one in known:
            if near(one, probe):
                return one
        if known:
            logger.warning(
                "readings of model %s differ from earlier ones on this machine: its weights "
                "changed under the same name, and its readings are cached separately",
                fingerprint,
            )
        cache.discard("probe", [key])
        cache.put("probe", {key: json.dumps([*known, probe]).encode()})
    return probe


def _parts(fingerprint: str) -> tuple[str, Probe]:
    found = _PROBE.search(fingerprint)
    if found is None:
        return fingerprint, ()
    return fingerprint[: found.start()], tuple(map(int, found[1].split(".")))
