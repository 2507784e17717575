"""Prompts with questions of their own, in few requests to vLLM (served or in this process)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ecomfs.engine.vllm.wire import Look, Part, parts_for, parts_of, reading
from ecomfs.errors import EngineError
from ecomfs.types import Question, Reading

Ask = Callable[[Part, list[int]], Awaitable[Sequence[Look | EngineError]]]
"""Given a part and the positions of the prompts that need it, one look a prompt."""


async def read_parts(
    questions: Sequence[Sequence[Question]],
    rows: Callable[[], Awaitable[Sequence[Sequence[int]]]],
    ask: Ask,
) -> list[Reading | EngineError]:
    """Prompts that are asked at the same place travel together and are asked about the codes of
    all of them, which costs no computation: a look gives the whole distribution anyway.

    Args:
        questions: of each prompt.
        rows: gives the token ids of the prompts.
        ask: puts one part to some of the prompts.
    """
    parts = parts_of([question for asked in questions for question in asked])
    needs = parts_for(parts, questions)
    looks: list[dict[int, Look | EngineError]] = [{} for _ in questions]

    async def put(number: int) -> None:
        places = [place for place, own in enumerate(needs) if number in own]
        for place, look in zip(places, await ask(parts[number], places), strict=True):
            looks[place][number] = look

    # First right after the prompts, which are in the server's cache from then on.
    for later in (False, True):
        mine = [n for n, part in enumerate(parts) if bool(part.suffix) is later]
        await asyncio.gather(*(put(number) for number in mine))
    return [
        reading(row, [*own.values()], [parts[number] for number in own], asked)
        for row, own, asked in zip(await rows(), looks, questions, strict=True)
    ]


__all__ = ["read_parts"]
