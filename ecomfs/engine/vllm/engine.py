"""The engine for vLLM servers over HTTP: one server, or several with the same model.

A request has many prompts, as token ids. One token is sampled with ``allowed_token_ids``, which
proves that constrained decoding is enforced. The log-probabilities come from ``logprob_token_ids``
and are those of the *unmasked* distribution (vLLM's ``--logprobs-mode raw_logprobs``, the default).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import aiohttp

from ecomfs.core.http import HttpClient, Response
from ecomfs.core.retry import is_retried, isolate, may_be_caused_by_prompt, permanent, retrying
from ecomfs.engine.canary import (
    CanaryReport,
    Probe,
    canary,
    near,
    probe,
    seen_before,
    with_probe,
)
from ecomfs.engine.chat import ChatModel
from ecomfs.engine.protocol import (
    Capabilities,
    ChosenAnswer,
    Engine,
    Sampling,
    TopTokens,
    sampling_options,
)
from ecomfs.engine.servers import ModelServer, ServerPool
from ecomfs.engine.vllm import wire
from ecomfs.engine.vllm.served_model import (
    ServedModel,
    check_still_served,
    checked_url,
    key_refused,
    served_chat,
    served_model,
)
from ecomfs.errors import (
    ConfigError,
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InvalidLogprobsError,
    ModelError,
    RequestRefusedError,
    ServerStatusError,
)
from ecomfs.types import Generation, Prompt, Question, Reading

T = TypeVar("T")
Recheck = Callable[[Engine], Awaitable[object]]
"""Checks the engine of one server; raises an :class:`EngineError` if it must not be used."""


class VllmEngine:
    """Reads a model served by vLLM.

    Args:
        url: address of a server, or of several with the same model. The least busy one gets the
            next request; an unhealthy one is probed until it recovers.
        model: name of the served model; default: the only or first one.
        api_key: API key; default: ``$ECOMFS_VLLM_API_KEY``.
        timeout: seconds a request may take. A CPU server with many prompts in flight needs
            minutes.
        attempts: most attempts per request. Then its halves are tried once, down to single
            prompts, so that a prompt on which the server fails does not affect the others.
        prompts_per_request: prompts in one request.
        concurrency: most requests in flight per server; halved when it is busy or too slow, then
            increased by one per window of answers.
        top_logprobs: number of likeliest tokens that it lists (vLLM's ``--max-logprobs``).
        backoff: first pause before a retry, in seconds; doubles each time.
        recheck: additional check of a server that was unhealthy: called with an engine for that
            server alone; raises an :class:`EngineError`. Default: the canary.
        probe_after: seconds until an unhealthy server is probed; doubles up to half a minute.
        confirm_every: seconds between checks that a server's weights are unchanged since the
            canary (:meth:`remember`); a new connection is checked too.
        sleep: sleep function (for tests).

    Attributes:
        rechecks: canary reports of servers that recovered, in order.
        confirmed, swapped: see :class:`ecomfs.engine.protocol.SupportsProbe`.

    Raises:
        ConfigError: ``url`` is not an http(s) address.
        EngineUnavailableError: no server answers at the address.
        ModelError: ``model`` is not served there, or the servers serve different models.
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
        top_logprobs: int = wire.TOP,
        backoff: float = 0.5,
        recheck: Recheck | None = None,
        probe_after: float = 1.0,
        confirm_every: float = 180.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        served: ServedModel | None = None,
        cache_salt: str | None = None,
    ) -> None:
        self.cache_salt = None if cache_salt is None else str(cache_salt)
        urls = [checked_url(u) for u in ([url] if isinstance(url, str) else url)]
        self._urls = list(dict.fromkeys(urls))
        if not self._urls:
            raise ConfigError("vllm: no address given", hint="vllm:http://host:8000")
        self.spec = "vllm:" + ",".join(self._urls)
        self._key = api_key or os.environ.get("ECOMFS_VLLM_API_KEY")
        self._http = HttpClient(
            api_key=self._key,
            timeout=timeout,
            start_hint="start one with 'ecomfs up --model …', or use --engine gguf:demo",
            slow_hint="a larger timeout, or fewer prompts in flight",
        )
        self._served = served or served_model(self._http, self._urls, model=model)
        self.tokenizer = self._served.tokenizer
        self._recheck = recheck or self._canary
        self.rechecks: list[CanaryReport] = []
        self.confirmed = 0
        self.swapped = False
        self._probe: Probe = ()
        self._timeout = timeout
        self._top = max(0, top_logprobs)
        self._lacking: frozenset[str] = frozenset()
        self._chat: tuple[ChatModel | None, ...] = ()
        self._size = max(1, prompts_per_request)
        self._concurrency = max(1, concurrency)
        self._attempts, self._backoff, self._sleep = attempts, backoff, sleep
        self._probe_after, self._confirm_every = probe_after, confirm_every
        self._pools: dict[asyncio.AbstractEventLoop, ServerPool] = {}
        self._closed = False

    @classmethod
    def from_name(cls, name: str, spec: str, **options: Any) -> VllmEngine:
        """Open the engine for one address, or for several separated by commas."""
        return cls([url for url in name.split(",") if url], **options)

    @property
    def fingerprint(self) -> str:
        """Model, its content if its folder is on this machine, vLLM's version, and after
        :meth:`remember` the readings of the canary's prompts."""
        return with_probe(self._served.fingerprint, self._probe)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            logprobs=True,
            generates=True,
            prefix_reuse=True,
            context_tokens=self._served.context,
            batch=self._size * self._concurrency * len(self._urls),
            codes_per_look=wire.MAX_CODES,
            top_logprobs=self._top,
            choice=True,
        ).without(self._lacking)

    @property
    def chat(self) -> ChatModel | None:
        """The chat template of the served model, requested from the server at first use."""
        if not self._chat:
            self._chat = (served_chat(self._http, self._urls[0], self._served),)
        return self._chat[0]

    def drop_capabilities(self, lacking: Collection[str]) -> None:
        """See :class:`ecomfs.engine.protocol.SupportsDowngrade`."""
        self._lacking |= frozenset(lacking)

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.read`.

        vLLM reports cached tokens for the *last* prompt of a request only; for the others
        ``cached_tokens`` is 0. :meth:`cache_counters` returns the server's own totals.
        """
        parts = wire.parts_of(questions)

        async def job(rows: list[list[int]]) -> list[Any]:
            # One part after the other: from the second on, the server has the prompts cached.
            looks = [await self._read_part(rows, part) for part in parts]
            return [
                wire.reading(row, [of[n] for of in looks], parts, questions)
                for n, row in enumerate(rows)
            ]

        return await self._each(prompts, job)

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.SupportsBatchedQuestions.read_each`."""

        async def ask(part: wire.Part, places: list[int]) -> list[Any]:
            mine = [prompts[place] for place in places]
            return await self._each(mine, lambda rows: self._read_part(rows, part))

        return await wire.read_parts(questions, lambda: self._tokens(prompts), ask)

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.generate`."""
        body = {"max_tokens": max_tokens, "stop": list(stop), **sampling_options(sampling)}
        return await self._each_asked(prompts, max_tokens, body, wire.texts)

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """See :meth:`ecomfs.engine.protocol.SupportsTopTokens.top`."""
        body = {"max_tokens": 1, "temperature": 0, "logprobs": self._top}
        return await self._each_asked(prompts, 1, body, wire.top_tokens)

    async def choose(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[ChosenAnswer | EngineError]:
        """See :meth:`ecomfs.engine.protocol.SupportsChoice.choose`."""
        # The constraint works on characters, so any tokenization of an answer is possible.
        room = 1 + max(len(answer.encode()) for answer in answers)
        body = wire.choice_body(answers, room, self.capabilities.top_logprobs)
        return await self._each_asked(prompts, room, body, wire.chosen)

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """The most likely token among ``allowed``, to check that constrained decoding is
        enforced."""
        rows = await self._tokens([prompt])
        body = {"prompt": rows, **wire.question_body(tuple(allowed)[: wire.MAX_CODES])}
        return await self._retry(lambda: self._post(body, wire.sampled))

    async def cache_counters(self) -> tuple[int, int] | None:
        """Prefix-cache (hits, queries) in tokens since the servers started, for all clients;
        ``None`` if they do not report it."""
        known = []
        for url in self._urls:
            with suppress(EngineError):
                page = await self._http.request("GET", url, "/metrics")
                if counters := wire.cache_counters(page.content.decode("utf-8", "replace")):
                    known.append(counters)
        if not known:
            return None
        return sum(hits for hits, _ in known), sum(queries for _, queries in known)

    async def aclose(self) -> None:
        """Close the connections; it may be called twice."""
        self._closed = True
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            await pool.aclose()
        await self._http.close()

    def per_server(self) -> list[VllmEngine]:
        """One engine per server, to check them separately; the caller must close them."""
        return [self._alone(url) for url in self._urls]

    def _alone(self, url: str) -> VllmEngine:
        alone = VllmEngine(
            url,
            api_key=self._key,
            timeout=self._timeout,
            attempts=1,
            top_logprobs=self._top,
            backoff=self._backoff,
            sleep=self._sleep,
            served=self._served,
            cache_salt=self.cache_salt,
        )
        alone.drop_capabilities(self._lacking)
        return alone

    async def remember(self) -> None:
        """See :meth:`ecomfs.engine.protocol.SupportsProbe.remember`."""
        probes = {url: await self._probe_of(url) for url in self._urls}
        first = probes[self._urls[0]]
        for url, other in probes.items():
            if not near(first, other):
                raise ModelError(
                    f"the servers serve different weights under one name: {url} reads the canary's "
                    f"prompts otherwise than {self._urls[0]}",
                    hint="give servers of one model in one precision",
                )
        base = self._served.fingerprint
        self._probe = await asyncio.to_thread(seen_before, base, first)

    async def _probe_of(self, url: str) -> Probe:
        async with aclosing(self._alone(url)) as engine:
            return await probe(engine)

    async def _confirm(self, url: str) -> None:
        """Check that the weights of a server are unchanged since the canary."""
        if not self._probe:
            return
        try:
            await asyncio.to_thread(check_still_served, self._http, url, self._served)
            now = await self._probe_of(url)
        except (EngineUnavailableError, EngineTimeoutError):
            raise
        except EngineError as error:
            self.swapped = isinstance(error, ModelError)
            raise _not_used(url, error) from error
        if not near(now, self._probe):
            self.swapped = True
            changed = ModelError(
                f"its weights changed under the same name ({now} after the canary's prompts, "
                f"not {self._probe}); rows that it answered in the minutes before may be of "
                "either model",
                hint="start the model as it was, or run again from the start",
            )
            raise _not_used(url, changed)
        self.confirmed += 1

    async def _revive(self, url: str) -> None:
        """Check a server that was unhealthy."""
        try:
            await asyncio.to_thread(check_still_served, self._http, url, self._served)
            async with aclosing(self._alone(url)) as engine:
                await self._recheck(engine)
        except EngineUnavailableError:
            raise
        except EngineError as error:
            # This is not an error of rows; the server may be repaired.
            raise _not_used(url, error) from error
        await self._confirm(url)

    async def _canary(self, engine: Engine) -> None:
        report = await canary(engine)
        self.rechecks.append(report)
        report.require()
        if report.lacking:
            raise EngineError(
                f"it lost capabilities: {', '.join(sorted(report.lacking))}",
                hint="start the server with its earlier options, or run again",
            )

    async def _each(
        self,
        prompts: Sequence[Prompt],
        job: Callable[[list[list[int]]], Coroutine[Any, Any, list[Any]]],
    ) -> list[Any]:
        """Run ``job`` for all prompts, one request after the other; answers are in input order."""
        rows = await self._tokens(prompts)
        # Prompts with equal prefixes share a request: the server computes the prefix once.
        order = sorted(range(len(rows)), key=rows.__getitem__)
        size = self._size
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

    async def _each_asked(
        self,
        prompts: Sequence[Prompt],
        room: int,
        body: dict[str, Any],
        parse: Callable[[dict[str, Any], list[list[int]]], list[Any]],
    ) -> list[Any]:
        return await self._each(prompts, lambda rows: self._ask(rows, room, body, parse))

    async def _tokens(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of prompts; prompts without them are encoded by the served model's
        tokenizer."""
        rows = [[*p.token_ids] for p in prompts]
        # A remote tokenizer makes a blocking call, which must not block the event loop.
        return rows if all(rows) else await asyncio.to_thread(self._encoded, prompts)

    def _encoded(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        encode = self._served.tokenizer.encode
        return [[*(p.token_ids or encode(p.text, bos=True))] for p in prompts]

    def _misfit(self, row: list[int], room: int) -> EngineError | None:
        if len(row) + room <= self._served.context:
            return None
        return ContextOverflowError(
            f"{self._served.name}: a prompt of {len(row)} tokens and {room} to answer do not "
            f"fit the context of {self._served.context}",
            hint="fewer demonstrations (--k), shorter texts, or a larger --max-model-len",
        )

    async def _read_part(
        self, rows: Sequence[list[int]], part: wire.Part
    ) -> list[wire.PartAnswer | EngineError]:
        """The log-probabilities of one part for each prompt of a request."""
        return await self._ask(
            [[*row, *part.suffix] for row in rows],
            1,
            wire.question_body(part.codes),
            lambda answer, prompts: wire.part_answers(answer, prompts, part.codes),
        )

    async def _ask(
        self,
        rows: Sequence[list[int]],
        room: int,
        body: dict[str, Any],
        parse: Callable[[dict[str, Any], list[list[int]]], list[Any]],
    ) -> list[Any]:
        """Send one request for all prompts that fit the context with their answers.

        Args:
            room: most tokens of an answer.
            body: further fields of the request.
            parse: parses the server's answer to one entry per prompt.
        """
        results: list[Any] = [self._misfit(row, room) for row in rows]
        good = [i for i, error in enumerate(results) if error is None]

        async def send(prompts: list[list[int]]) -> list[Any]:
            return await self._post({"prompt": prompts, **body}, lambda a: parse(a, prompts))

        if good:
            answers = await self._together([rows[i] for i in good], send)
            for i, answer in zip(good, answers, strict=True):
                results[i] = answer
        return results

    async def _together(
        self, prompts: list[list[int]], send: Callable[[list[list[int]]], Awaitable[list[Any]]]
    ) -> list[Any]:
        try:
            return [*await self._retry(lambda: send(prompts))]
        except EngineError as error:
            refused = isinstance(error, RequestRefusedError)
            if len(prompts) == 1 or not (refused or may_be_caused_by_prompt(error)):
                return [error] * len(prompts)
        if not refused:
            return await isolate(prompts, send)
        # Refusals are not retried; other failures of the halves are.
        return await isolate(prompts, lambda part: self._retry(lambda: send(part)))

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        return await retrying(call, attempts=self._attempts, base=self._backoff, sleep=self._sleep)

    async def _post(self, body: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> T:
        """Send a request and parse the answer. If the server is unreachable, or becomes unhealthy
        by this answer, the next healthy one is used at once."""
        if self._closed:
            raise permanent(EngineUnavailableError(f"{self.spec}: the engine is closed"))
        salt = {} if self.cache_salt is None else {"cache_salt": self.cache_salt}
        whole = {"model": self._served.name, **salt, **body}
        pool = self._pool()
        others = len(self._urls) - 1
        while True:
            server, sent = await pool.acquire()
            try:
                await pool.confirm(server)
                response = await self._http.request("POST", server.url, "/v1/completions", whole)
                if response.connected is not None:  # another program may use the address now
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
                self._urls,
                self._concurrency,
                self._revive,
                self._probe_after,
                confirm=self._confirm,
                confirm_every=self._confirm_every,
            )
        return self._pools[loop]


def _not_used(url: str, error: EngineError) -> EngineUnavailableError:
    return permanent(EngineUnavailableError(f"{url} is not used: {error.message}", hint=error.hint))


def _checked(response: Response) -> dict[str, Any]:
    """The JSON object of a response with status 200."""
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
    """Whether all readings of an answer are distributions. One that is not counts as a failure of
    the server; the next good one resets the count."""
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
        server.failures = 0  # it answered: the request or the key is the cause
