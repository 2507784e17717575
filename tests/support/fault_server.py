"""A loopback HTTP server that speaks vLLM's protocol and fails on demand.

Its log-probabilities are made from the token ids, so a test can tell one prompt's answer from
another's; it is no model.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from ecomfs.core import event_loop

Fault = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]

CONTEXT = 64
STOPPED = web.AppKey("stopped", asyncio.Event)


def logprob(prompt: Sequence[int], code: int, weights: int = 0) -> float:
    """The log-probability of a code after a prompt; hundreds of codes sum to less than one. Other
    weights give other values.
    """
    return -5.0 - (sum(prompt) * (31 + weights) + code * 7) % 1000 / 100


class FaultServer:
    """Answers ``/v1/completions``; each of ``faults`` is applied to one request, in order.

    Attributes:
        bodies: completion requests as they came.
        faults: what happens to the next requests; ``None`` answers well.
        mix: what happens to all others; called for each.
        bears: more requests than this at once get HTTP 429, if set.
        version: what it says of itself.
        key: an API key that is asked for, if set.
        weights: of its model; other ones may be served under the same name.
        open_now: completion requests that are being answered.
        most_at_once: most completion requests that were open at the same time.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.faults: list[Fault | None] = []
        self.mix: Callable[[], Fault | None] = lambda: None
        self.bears: int | None = None
        self.version = "0.0.test"
        self.refused = 0
        self.key: str | None = None
        self.weights = 0
        self.models: list[dict[str, Any]] = [
            {"id": "small", "root": "no/such-folder", "max_model_len": CONTEXT}
        ]
        self.most_at_once = 0
        self.url = ""
        self.open_now = 0
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application(middlewares=[self._guard])
        app[STOPPED] = self._stopped = asyncio.Event()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._completions)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(
            self._runner.server, "127.0.0.1", port, reuse_address=True
        )
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            self._stopped.set()
            if self._listener is not None:
                # asyncio does not close a connection that it has accepted and not yet handed over
                # when the listener is closed: first accept no more, then close.
                loop = asyncio.get_running_loop()
                for sock in self._listener.sockets:
                    loop.remove_reader(sock.fileno())
                await asyncio.sleep(0.02)
                self._listener.close()
            await self._runner.cleanup()
            self._runner = None

    def start_again(self) -> None:
        """Listen at the old address, from a test."""
        event_loop.run(self.start(int(self.url.rsplit(":", 1)[1])))

    def stop_now(self) -> None:
        """Stop listening, from a test."""
        event_loop.run(self.stop())

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": self.models})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.version})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            text='vllm:prefix_cache_queries_total{engine="0"} 100.0\n'
            'vllm:prefix_cache_hits_total{engine="0"} 75.0\n'
        )

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "messages" in body:  # it serves a base model
            return web.json_response({"error": "no chat template"}, status=400)
        ids = [ord(c) + 10 for c in body["prompt"]]
        if "<bos>" in body["prompt"]:
            ids = [1, *ids]  # a served tokenizer reads control tokens
        return web.json_response({"tokens": [1, *ids] if body["add_special_tokens"] else ids})

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"prompt": "".join(chr(i - 10) for i in body["tokens"] if i > 9)})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.open_now += 1
        self.most_at_once = max(self.most_at_once, self.open_now)
        try:
            # Let the others in; one that can bear so much takes its time to show it.
            await asyncio.sleep(0 if self.bears is None else 0.002)
            if self.bears is not None and self.open_now > self.bears:
                self.refused += 1
                return web.Response(status=429, text="busy")
            fault = self.faults.pop(0) if self.faults else self.mix()
            spoiled = await fault(request, body) if fault else None
            return spoiled or web.json_response(answer_of(body, self.weights))
        finally:
            self.open_now -= 1


def answer(body: dict[str, Any], weights: int = 0) -> dict[str, Any]:
    """A complete, correct answer to a completion request."""
    choices = []
    for n, prompt in enumerate(body["prompt"]):
        choice: dict[str, Any] = {"index": n, "text": f" text {len(prompt)}", "logprobs": None}
        if codes := body.get("logprob_token_ids"):
            top = {f"token_id:{c}": logprob(prompt, c, weights) for c in codes}
            best = max(top, key=top.__getitem__)
            choice["logprobs"] = {"tokens": [best], "top_logprobs": [top]}
        choices.append(choice)
    details = {"cached_tokens": 16}
    return {"choices": choices, "usage": {"prompt_tokens_details": details}}


def chat_answer(body: dict[str, Any]) -> dict[str, Any]:
    """A complete, correct answer to a chat request; a token is a character."""
    text = body["messages"][-1]["content"]
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": f"text of {text!r}"},
    }
    if body.get("logprobs"):
        top = [
            {"token": t, "logprob": p, "bytes": None} for t, p in ((" yes", -0.2), (" no", -1.9))
        ]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    usage = {"prompt_tokens": len(text), "completion_tokens": 1, "total_tokens": len(text) + 1}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


def answer_of(body: dict[str, Any], weights: int = 0) -> dict[str, Any]:
    """The correct answer to either kind of request."""
    return chat_answer(body) if "messages" in body else answer(body, weights)


def says(status: int, text: str = "busy", **headers: str) -> Fault:
    """Answer with an HTTP status."""

    async def fault(_: web.Request, __: dict[str, Any]) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named)

    return fault


def answers(status: int, body: dict[str, Any]) -> Fault:
    """Answer with an HTTP status and JSON."""

    async def fault(_: web.Request, __: dict[str, Any]) -> web.Response:
        return web.json_response(body, status=status)

    return fault


async def resets(request: web.Request, _: dict[str, Any]) -> None:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()


async def cut_short(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Send half of the JSON as if it were complete."""
    whole = json.dumps(answer_of(body)).encode()
    return web.Response(body=whole[: len(whole) // 2], content_type="application/json")


async def hangs(request: web.Request, _: dict[str, Any]) -> None:
    """Do not answer while the server runs."""
    await request.app[STOPPED].wait()


def spoils(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Change the correct answer before it is sent."""

    async def fault(_: web.Request, body: dict[str, Any]) -> web.Response:
        whole = answer_of(body)
        change(whole)
        return web.json_response(whole)

    return fault


def refuses_token(token: int) -> Fault:
    """HTTP 400 for a request that holds a token, as vLLM for ids outside the vocabulary."""

    async def fault(_: web.Request, body: dict[str, Any]) -> web.Response | None:
        if any(token in prompt for prompt in body["prompt"]):
            return web.json_response(
                {"error": f"Token id {token} is out of vocabulary"}, status=400
            )
        return None

    return fault


def mixture(seed: int, share: float, kinds: Sequence[Fault]) -> Callable[[], Fault | None]:
    """Faults for a share of the requests, deterministic for a seed."""
    rng = random.Random(seed)
    return lambda: rng.choice(kinds) if rng.random() < share else None
