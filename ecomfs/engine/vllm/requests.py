"""Prompts to requests, and answers back to prompts: how many travel together, what is tried again,
and whose failure it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from ecomfs.core.retry import isolate, may_be_the_prompts, permanent, retrying
from ecomfs.engine.vllm import wire
from ecomfs.engine.vllm.served_model import ServedModel
from ecomfs.engine.vllm.transport import Transport
from ecomfs.errors import ContextOverflowError, EngineError, EngineUnavailableError
from ecomfs.types import Prompt

T = TypeVar("T")
Tokens = list[int]


class Requests:
    """Completion requests to the servers of one model.

    Args:
        transport: who carries them.
        served: the model.
        spec: the engine's name, for errors.
        size: prompts in one request.
        attempts, backoff, sleep: of repetitions, see :func:`ecomfs.core.retry.retrying`.

    Attributes:
        closed: nothing is sent any more.
    """

    def __init__(
        self,
        transport: Transport,
        served: ServedModel,
        *,
        spec: str,
        size: int,
        attempts: int,
        backoff: float,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._served = served
        self._spec = spec
        self._size = size
        self._attempts = attempts
        self._backoff = backoff
        self._sleep = sleep
        self.closed = False

    async def each(
        self,
        prompts: Sequence[Prompt],
        job: Callable[[list[Tokens]], Coroutine[Any, Any, list[Any]]],
    ) -> list[Any]:
        """``job`` for all prompts, a request's worth at a time; answers in input order."""
        rows = await self.tokens(prompts)
        # Equal prefixes in one request: the server computes them once and keeps them.
        order = sorted(range(len(rows)), key=rows.__getitem__)
        size = self._size
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        # A task group cancels the rest when one job fails or the caller gives up.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job([rows[i] for i in batch])) for batch in batches]
        answers = dict(
            pair
            for batch, task in zip(batches, tasks, strict=True)
            for pair in zip(batch, task.result(), strict=True)
        )
        results = [answers[i] for i in range(len(rows))]
        if results and all(isinstance(r, EngineUnavailableError) for r in results):
            # Nothing at all could be read: that is the caller's error, not the rows'.
            raise results[0]
        return results

    async def tokens(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        """Their token ids, as they are or by the served model's tokenizer."""
        rows = [[*p.token_ids] for p in prompts]
        # A remote tokenizer asks its server; the event loop must stay free meanwhile.
        return rows if all(rows) else await asyncio.to_thread(self._encoded, prompts)

    def _encoded(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        encode = self._served.tokenizer.encode
        return [[*(p.token_ids or encode(p.text, bos=True))] for p in prompts]

    def _fitting(self, rows: Sequence[Tokens], room: int) -> list[Tokens | EngineError]:
        return [
            ContextOverflowError(
                f"{self._served.name}: a prompt of {len(row)} tokens and {room} to answer do not "
                f"fit the context of {self._served.context}",
                hint="fewer demonstrations (--k), shorter texts, or a larger --max-model-len",
            )
            if len(row) + room > self._served.context
            else row
            for row in rows
        ]

    async def look(self, rows: Sequence[Tokens], part: wire.Part) -> list[wire.Look | EngineError]:
        """One look at each prompt of a request."""
        return await self.ask(
            [[*row, *part.suffix] for row in rows],
            1,
            wire.question_body(part.codes),
            lambda answer, prompts: wire.looks(answer, prompts, part.codes),
        )

    async def ask(
        self,
        rows: Sequence[Tokens],
        room: int,
        body: dict[str, Any],
        parse: Callable[[dict[str, Any], list[Tokens]], list[Any]],
    ) -> list[Any]:
        """One request for all prompts that fit the context with their answers.

        Args:
            rows: token ids of the prompts.
            room: tokens an answer may take.
            body: what the request asks for, beside its prompts.
            parse: the server's answer as one entry a prompt.
        """
        asked = self._fitting(rows, room)
        good = [i for i, ids in enumerate(asked) if not isinstance(ids, EngineError)]
        results: list[Any] = list(asked)

        async def send(prompts: list[Tokens]) -> list[Any]:
            return await self._post({"prompt": prompts, **body}, lambda a: parse(a, prompts))

        prompts: list[Tokens] = [results[i] for i in good]
        if prompts:
            for i, answer in zip(good, await self._together(prompts, send), strict=True):
                results[i] = answer
        return results

    async def once(self, body: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> T:
        """A request as it is."""

        async def send() -> T:
            return await self._post(body, parse)

        return await self._retry(send)

    async def _together(
        self, prompts: list[Tokens], send: Callable[[list[Tokens]], Awaitable[list[Any]]]
    ) -> list[Any]:
        try:
            return [*await self._retry(lambda: send(prompts))]
        except EngineError as error:
            refused = isinstance(error, wire.RefusedError)
            if len(prompts) == 1 or not (refused or may_be_the_prompts(error)):
                return [error] * len(prompts)
        if not refused:
            return await isolate(prompts, send)
        # A refusal is not repeated, so all that is repeated is the others' bad luck.
        return await isolate(prompts, lambda part: self._retry(lambda: send(part)))

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        return await retrying(call, attempts=self._attempts, base=self._backoff, sleep=self._sleep)

    async def _post(self, body: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> T:
        if self.closed:
            raise permanent(EngineUnavailableError(f"{self._spec}: the engine is closed"))
        whole = {"model": self._served.name, **body}
        return await self._transport.post("/v1/completions", whole, parse)


__all__ = ["Requests", "Tokens"]
