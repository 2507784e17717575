"""Prompts to requests and answers back to prompts: batching, retries, choice of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from ecomfs.core.http import HttpClient, Response
from ecomfs.core.retry import is_retried, isolate, may_be_the_prompts, permanent, retrying
from ecomfs.engine.servers import ModelServer, ServerCheck, ServerPool
from ecomfs.engine.vllm import wire
from ecomfs.engine.vllm.served_model import ServedModel, key_refused
from ecomfs.errors import (
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InvalidLogprobsError,
    RequestRefusedError,
    ServerStatusError,
)
from ecomfs.types import Prompt

T = TypeVar("T")
Tokens = list[int]


@dataclass(eq=False)
class Requests:
    """Completion requests to the servers of one model.

    Attributes:
        http: sends them.
        urls: the servers.
        served: the model.
        spec: the engine's name, for errors.
        size: prompts per request.
        concurrency: requests in flight per server, at most.
        attempts, backoff, sleep: of repetitions, see :func:`ecomfs.core.retry.retrying`.
        revive: checks a server that was unhealthy.
        probe_after: seconds until an unhealthy server is probed.
        confirm: checks that a healthy server still is what it was: every ``confirm_every`` seconds,
            and before an answer over a new connection is used.
        cache_salt: see :class:`ecomfs.engine.vllm.engine.VllmEngine`.
        closed: no more requests are sent.
    """

    http: HttpClient
    urls: Sequence[str]
    served: ServedModel
    spec: str
    size: int
    concurrency: int
    attempts: int
    backoff: float
    sleep: Callable[[float], Awaitable[None]]
    revive: ServerCheck
    probe_after: float
    confirm: ServerCheck
    confirm_every: float
    cache_salt: str | None
    closed: bool = False
    _pools: dict[asyncio.AbstractEventLoop, ServerPool] = field(default_factory=dict)

    async def each(
        self,
        prompts: Sequence[Prompt],
        job: Callable[[list[Tokens]], Coroutine[Any, Any, list[Any]]],
    ) -> list[Any]:
        """``job`` for all prompts, one request's worth at a time; answers in input order."""
        rows = await self.tokens(prompts)
        # Equal prefixes in one request: the server computes them once and keeps them.
        order = sorted(range(len(rows)), key=rows.__getitem__)
        size = self.size
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        # A task group cancels the rest when one job fails or the caller is cancelled.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job([rows[i] for i in batch])) for batch in batches]
        answers = dict(
            pair
            for batch, task in zip(batches, tasks, strict=True)
            for pair in zip(batch, task.result(), strict=True)
        )
        results = [answers[i] for i in range(len(rows))]
        if results and all(isinstance(r, EngineUnavailableError) for r in results):
            raise results[0]  # nothing could be read: an error of the call, not of its rows
        return results

    async def each_asked(
        self,
        prompts: Sequence[Prompt],
        room: int,
        body: dict[str, Any],
        parse: Callable[[dict[str, Any], list[Tokens]], list[Any]],
    ) -> list[Any]:
        """:meth:`ask` for all prompts."""
        return await self.each(prompts, lambda rows: self.ask(rows, room, body, parse))

    async def tokens(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        """Token ids of prompts; those without are encoded by the served model's tokenizer."""
        rows = [[*p.token_ids] for p in prompts]
        # A remote tokenizer calls its server and blocks; the event loop must stay free.
        return rows if all(rows) else await asyncio.to_thread(self._encoded, prompts)

    def _encoded(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        encode = self.served.tokenizer.encode
        return [[*(p.token_ids or encode(p.text, bos=True))] for p in prompts]

    def _fitting(self, rows: Sequence[Tokens], room: int) -> list[Tokens | EngineError]:
        return [
            ContextOverflowError(
                f"{self.served.name}: a prompt of {len(row)} tokens and {room} to answer do not "
                f"fit the context of {self.served.context}",
                hint="fewer demonstrations (--k), shorter texts, or a larger --max-model-len",
            )
            if len(row) + room > self.served.context
            else row
            for row in rows
        ]

    async def read_part(
        self, rows: Sequence[Tokens], part: wire.Part
    ) -> list[wire.PartAnswer | EngineError]:
        """One part's log-probabilities for each prompt of a request."""
        return await self.ask(
            [[*row, *part.suffix] for row in rows],
            1,
            wire.question_body(part.codes),
            lambda answer, prompts: wire.part_answers(answer, prompts, part.codes),
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
            body: fields of the request beside its prompts.
            parse: reads the server's answer; gives one entry per prompt.
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
        """One request with ``body`` as it is."""
        return await self._retry(lambda: self._post(body, parse))

    async def _together(
        self, prompts: list[Tokens], send: Callable[[list[Tokens]], Awaitable[list[Any]]]
    ) -> list[Any]:
        try:
            return [*await self._retry(lambda: send(prompts))]
        except EngineError as error:
            refused = isinstance(error, RequestRefusedError)
            if len(prompts) == 1 or not (refused or may_be_the_prompts(error)):
                return [error] * len(prompts)
        if not refused:
            return await isolate(prompts, send)
        # Refusals are not retried, so only other failures of the halves are.
        return await isolate(prompts, lambda part: self._retry(lambda: send(part)))

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        return await retrying(call, attempts=self.attempts, base=self.backoff, sleep=self.sleep)

    async def _post(self, body: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> T:
        """What ``parse`` makes of a server's answer. When a server is unreachable, or is marked
        unhealthy because of this answer, the next healthy one is asked at once."""
        if self.closed:
            raise permanent(EngineUnavailableError(f"{self.spec}: the engine is closed"))
        salt = {} if self.cache_salt is None else {"cache_salt": self.cache_salt}
        whole = {"model": self.served.name, **salt, **body}
        pool = self._pool()
        others = len(self.urls) - 1
        while True:
            server, sent = await pool.acquire()
            try:
                await pool.confirm(server)
                response = await self.http.request("POST", server.url, "/v1/completions", whole)
                if response.connected is not None:  # another program may listen there now
                    await pool.confirm(server, response.connected)
                answer = parse(_checked(response))
            except EngineError as error:
                _note_failure(pool, server, sent, error)
                if server.unhealthy is None or not others or not pool.healthy:
                    raise
            else:
                if _note_answer(pool, server, answer) or server.unhealthy is None:
                    return answer
                if not others or not pool.healthy:
                    return answer
            finally:
                pool.release(server)
            others -= 1

    def _pool(self) -> ServerPool:
        loop = asyncio.get_running_loop()
        for old in [known for known in self._pools if known.is_closed()]:
            del self._pools[old]
        if loop not in self._pools:
            self._pools[loop] = ServerPool(
                self.urls,
                self.concurrency,
                self.revive,
                self.probe_after,
                confirm=self.confirm,
                confirm_every=self.confirm_every,
            )
        return self._pools[loop]

    async def aclose(self) -> None:
        """Send no more, end the probes and close the connections."""
        self.closed = True
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            await pool.aclose()
        await self.http.close()


def _checked(response: Response) -> dict[str, Any]:
    """The JSON object of a response.

    Raises:
        EngineError: another status than 200, or no JSON object.
    """
    url, status = response.url, response.status
    if status == 200:
        answer = response.json_object()
        if answer is None:
            raise EngineResponseError(f"{url}: the answer is not a JSON object")
        return answer
    if status in (401, 403):
        raise key_refused(url, status)
    message = f"{url} answered HTTP {status}: {response.text}"
    if is_retried(status):
        raise response.retryable_error(message)
    if status == 404:
        hint = "is this a vLLM server? does it serve this model?"
        raise permanent(EngineResponseError(message, hint=hint))
    raise RequestRefusedError(message)


def _note_answer(pool: ServerPool, server: ModelServer, answer: object) -> bool:
    """Whether all readings of an answer are distributions. One that is not counts as a failure
    of the server; the next good one resets the count."""
    well = True
    for reading in answer if isinstance(answer, list) else [answer]:
        if isinstance(reading, InvalidLogprobsError):
            pool.gave_no_distribution(server, reading)
            well = False
        else:
            server.failures = 0
    server.window.answered()
    return well


def _note_failure(pool: ServerPool, server: ModelServer, sent: int, error: EngineError) -> None:
    if isinstance(error, EngineTimeoutError) or (
        isinstance(error, ServerStatusError) and error.busy
    ):
        server.window.overloaded(sent)
    if error.retryable:
        unreachable = isinstance(error.__cause__, aiohttp.ClientConnectorError)
        pool.failed(server, error, unreachable=unreachable)
    else:
        server.failures = 0  # it answered: the request or the key is at fault
