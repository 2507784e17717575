"""Builds request bodies for vLLM and parses its answers, without any I/O."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ecomfs.core.retry import permanent
from ecomfs.engine.logprobs import checked_choice, checked_list, fault
from ecomfs.engine.protocol import ChosenAnswer, TopTokens
from ecomfs.errors import EngineError, EngineResponseError
from ecomfs.types import Generation, Question, Reading

MAX_CODES = 128
"""vLLM's limit of ``logprob_token_ids`` in one request."""

TOP = 20
"""vLLM's default limit of top tokens in one answer (``--max-logprobs``)."""

_UNREADABLE = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError)
"""Errors for a value of the wrong shape or type; a long integer overflows a float."""

_TOO_OLD = "vLLM 0.15 or newer is needed: older ones ignore logprob_token_ids"


class Part(NamedTuple):
    """One request's share of the questions: codes (at most :data:`MAX_CODES`) after a suffix."""

    suffix: tuple[int, ...]
    codes: tuple[int, ...]


class PartAnswer(NamedTuple):
    """One prompt's answer to one :class:`Part`."""

    logprobs: dict[int, float]
    cached_tokens: int


def parts_of(questions: Sequence[Question]) -> list[Part]:
    """Split questions into parts: those with the same suffix share a pass, and codes beyond the
    limit need more passes.

    >>> [len(p.codes) for p in parts_of([Question(tuple(range(200))), Question((1, 999))])]
    [128, 73]
    """
    wanted: dict[tuple[int, ...], dict[int, None]] = {}
    for question in questions:
        wanted.setdefault(question.suffix, {}).update(dict.fromkeys(question.codes))
    return [
        Part(suffix, tuple(codes)[start : start + MAX_CODES])
        for suffix, codes in wanted.items()
        for start in range(0, len(codes), MAX_CODES)
    ]


def parts_for(parts: Sequence[Part], questions: Sequence[Sequence[Question]]) -> list[set[int]]:
    """For each prompt, the numbers of the parts that its questions need.

    >>> every = [Question(tuple(range(200))), Question((1, 2), suffix=(7,))]
    >>> parts_for(parts_of(every), [every, [Question((3, 150))], [Question((3, 4))]])
    [{0, 1, 2}, {0, 1}, {0}]
    """
    number = {(part.suffix, code): n for n, part in enumerate(parts) for code in part.codes}
    return [{number[q.suffix, code] for q in asked for code in q.codes} for asked in questions]


def question_body(codes: tuple[int, ...]) -> dict[str, Any]:
    """The fields of a completion request for the log-probabilities of codes."""
    return {
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": len(codes),
        "logprob_token_ids": list(codes),
        "allowed_token_ids": list(codes),
        "return_tokens_as_token_ids": True,
    }


def part_answers(
    answer: dict[str, Any], prompts: Sequence[Sequence[int]], codes: tuple[int, ...]
) -> list[PartAnswer | EngineError]:
    """Log-probabilities of ``codes`` for every prompt of a request, or an error if they are not a
    distribution."""
    found: list[PartAnswer | EngineError] = []
    allowed = set(codes)
    for choice, _, cached in _by_prompt(answer, prompts):
        top, picked = _first(choice)
        if missing := allowed - top.keys():
            message = f"the server gave no log-probability for {len(missing)} of {len(codes)} codes"
            raise permanent(EngineResponseError(message, hint=_TOO_OLD))
        if picked not in allowed:
            message = "the server ignored allowed_token_ids: it sampled another token"
            hint = "run 'ecomfs check'; a gateway in between may drop unknown fields"
            raise permanent(EngineResponseError(message, hint=hint))
        if len(top) > len(allowed):
            top = {code: top[code] for code in codes}
        found.append(part_answer(top, cached))
    return found


def part_answer(logprobs: dict[int, float], cached_tokens: int) -> PartAnswer | EngineError:
    """The answer, or an error if it is not part of a distribution."""
    return fault(logprobs.values()) or PartAnswer(logprobs, cached_tokens)


def reading(
    prompt: Sequence[int],
    looks: Sequence[PartAnswer | EngineError],
    parts: Sequence[Part],
    questions: Sequence[Question],
) -> Reading | EngineError:
    """Combine the answers of one prompt, one per part, to a reading in the order of the questions;
    or return the first error."""
    if len(parts) == len(questions) == 1 and isinstance(only := looks[0], PartAnswer):
        values = tuple(map(only.logprobs.__getitem__, questions[0].codes))
        return Reading((values,), len(prompt), min(len(prompt), only.cached_tokens))
    known: dict[tuple[int, ...], dict[int, float]] = {}
    cached: list[int] = []
    for part, look in zip(parts, looks, strict=True):
        if isinstance(look, EngineError):
            return look
        known.setdefault(part.suffix, {}).update(look.logprobs)
        cached.append(look.cached_tokens)
    return Reading(
        tuple(tuple(known[q.suffix][code] for code in q.codes) for q in questions),
        prompt_tokens=len(prompt),
        cached_tokens=min([len(prompt), *cached[:1]]) if cached else 0,
    )


def texts(answer: dict[str, Any], prompts: Sequence[Sequence[int]]) -> list[Generation]:
    """Generated texts of a request."""
    return [
        Generation(str(choice.get("text", "")), tokens, cached)
        for choice, tokens, cached in _by_prompt(answer, prompts)
    ]


def choice_body(answers: Sequence[str], max_tokens: int, top: int) -> dict[str, Any]:
    """Fields of a completion request whose text must be one of ``answers``, with the likeliest
    tokens at each position. (vLLM applies the mask before the logarithm, so that these are shares
    among the allowed tokens.)"""
    return {
        "max_tokens": max_tokens,
        "temperature": 0,
        "structured_outputs": {"choice": list(answers)},
        **({"logprobs": top} if top else {}),
    }


def chosen(
    answer: dict[str, Any], prompts: Sequence[Sequence[int]]
) -> list[ChosenAnswer | EngineError]:
    """The answers of a request, with the likely tokens at each position if the server lists
    them."""
    return [
        checked_choice(
            ChosenAnswer(
                str(choice.get("text", "")), _steps(choice.get("logprobs")), tokens, cached
            )
        )
        for choice, tokens, cached in _by_prompt(answer, prompts)
    ]


def _steps(logprobs: Any) -> tuple[tuple[str, dict[str, float]], ...]:
    try:
        return tuple(
            (str(token), {str(text): _number(value) for text, value in listed.items()})
            for token, listed in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True)
        )
    except _UNREADABLE:
        return ()  # the answer itself is there


def top_tokens(
    answer: dict[str, Any], prompts: Sequence[Sequence[int]]
) -> list[TopTokens | EngineError]:
    """The likeliest next tokens of every prompt of a request, as text."""
    found: list[TopTokens | EngineError] = []
    for choice, tokens, cached in _by_prompt(answer, prompts):
        try:
            listed = choice["logprobs"]["top_logprobs"][0]
            ordered = sorted(((str(t), _number(p)) for t, p in listed.items()), key=lambda x: -x[1])
        except _UNREADABLE as error:
            raise permanent(EngineResponseError("the server listed no likely tokens")) from error
        found.append(checked_list(TopTokens(dict(ordered), tokens, cached)))
    return found


def sampled(answer: dict[str, Any]) -> int:
    """The sampled token, for a request with one prompt."""
    return _first(_choices(answer, 1)[0])[1]


def cache_counters(metrics: str) -> tuple[int, int] | None:
    """(hits, queries) of the prefix cache from a Prometheus page; ``None`` if they are missing.

    >>> cache_counters('vllm:prefix_cache_queries_total{e="0"} 40.0\\n'
    ...                'vllm:prefix_cache_hits_total{e="0"} 32.0\\n')
    (32, 40)
    >>> cache_counters("") is None
    True
    """
    sums = []
    for name in ("hits", "queries"):
        found = re.findall(rf"^vllm:prefix_cache_{name}_total(?:{{.*}})? (\S+)$", metrics, re.M)
        if not found:
            return None
        try:
            sums.append(int(sum(float(value) for value in found)))
        except (ValueError, OverflowError):  # no numbers, NaN or infinity
            return None
    return sums[0], sums[1]


def _choices(answer: dict[str, Any], count: int) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != count:
        given = len(choices) if isinstance(choices, list) else "no"
        raise EngineResponseError(f"the server gave {given} answers to {count} prompts")
    by_index = {
        index: choice
        for choice in choices
        if isinstance(choice, dict) and type(index := choice.get("index")) is int
    }
    if by_index.keys() != set(range(count)):
        raise EngineResponseError("the server's answers are not numbered as the prompts are")
    return [by_index[i] for i in range(count)]


def _by_prompt(
    answer: dict[str, Any], prompts: Sequence[Sequence[int]]
) -> Iterator[tuple[dict[str, Any], int, int]]:
    """For each prompt of a request: the answer, the number of its tokens, and the number of them in
    the server's cache, which is reported for the last prompt only."""
    last = len(prompts) - 1
    for place, choice in enumerate(_choices(answer, len(prompts))):
        yield choice, len(prompts[place]), _cached(answer) if place == last else 0


def _first(choice: dict[str, Any]) -> tuple[dict[int, float], int]:
    """Log-probabilities by token id, and the sampled token, at the first generated position."""
    try:
        logprobs = choice["logprobs"]
        top = {_id(name): _number(value) for name, value in logprobs["top_logprobs"][0].items()}
        return top, _id(logprobs["tokens"][0])
    except _UNREADABLE as error:
        message = "the server's answer holds no log-probabilities by token id"
        raise permanent(EngineResponseError(message, hint=_TOO_OLD)) from error


def _number(value: Any) -> float:
    """A log-probability; JSON has no NaN, and servers write null for it."""
    return math.nan if value is None else float(value)


@lru_cache(4096)  # the same few in every answer
def _id(name: str) -> int:
    return int(name.removeprefix("token_id:"))


def _cached(answer: dict[str, Any]) -> int:
    """Number of tokens in the server's cache; 0 if it is not reported."""
    try:
        return max(0, int(answer["usage"]["prompt_tokens_details"]["cached_tokens"]))
    except _UNREADABLE:
        return 0


Ask = Callable[[Part, list[int]], Awaitable[Sequence[PartAnswer | EngineError]]]
"""Function of a part and the positions of the prompts that need it; returns one answer each."""


async def read_parts(
    questions: Sequence[Sequence[Question]],
    rows: Callable[[], Awaitable[Sequence[Sequence[int]]]],
    ask: Ask,
) -> list[Reading | EngineError]:
    """Read prompts with different questions in few requests.

    Prompts with questions at the same position share a request for all their codes. This costs no
    computation, since one pass gives the whole distribution.

    Args:
        questions: questions of each prompt.
        rows: returns the token ids of the prompts.
        ask: sends one part for some of the prompts.
    """
    parts = parts_of([question for asked in questions for question in asked])
    needs = parts_for(parts, questions)
    looks: list[dict[int, PartAnswer | EngineError]] = [{} for _ in questions]

    async def put(number: int) -> None:
        places = [place for place, own in enumerate(needs) if number in own]
        for place, look in zip(places, await ask(parts[number], places), strict=True):
            looks[place][number] = look

    # First the part right after the prompts, which are then in the server's cache.
    for later in (False, True):
        mine = [n for n, part in enumerate(parts) if bool(part.suffix) is later]
        await asyncio.gather(*(put(number) for number in mine))
    return [
        reading(row, [*own.values()], [parts[number] for number in own], asked)
        for row, own, asked in zip(await rows(), looks, questions, strict=True)
    ]
