"""A loopback server that speaks vLLM's protocol, with a real (tiny, untrained) model behind it.

So the served engines can be held against the model itself: same tokens, same probabilities. Text
is greedy; a constraint to answers is followed token by token.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from aiohttp import web

from ecomfs import aio
from ecomfs.engine.transformers import TransformersEngine
from ecomfs.errors import EngineError
from ecomfs.types import Generation, Question, Reading
from prompts import of_tokens

Ids = tuple[int, ...]


class ModelServer:
    """Serves ``engine``, read from ``folder``, under the name ``tiny``.

    Attributes:
        vocabulary: its tokens are 0 to this.
        keys: API keys that came, in order.
    """

    def __init__(self, engine: TransformersEngine, folder: Path, vocabulary: int) -> None:
        self.engine = engine
        self.folder = folder
        self.vocabulary = vocabulary
        self.keys: list[str] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        context = self.engine.capabilities.context_tokens
        card = {"id": "tiny", "root": str(self.folder), "max_model_len": context}
        return web.json_response({"object": "list", "data": [card]})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.model"})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        ids = self.engine.tokenizer.encode(body["prompt"], bos=body["add_special_tokens"])
        return web.json_response({"tokens": ids})

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"prompt": self.engine.tokenizer.decode(body["tokens"])})

    async def _completions(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompts = body["prompt"]
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        rows = [
            tuple(self.engine.tokenizer.encode(p, bos=True)) if isinstance(p, str) else tuple(p)
            for p in prompts
        ]
        if any(not 0 <= code < self.vocabulary for code in body.get("logprob_token_ids") or ()):
            return web.json_response({"error": "out of vocabulary"}, status=400)
        choices = []
        for n, ids in enumerate(rows):
            choice = await self._answer(ids, body)
            choices.append({"index": n, "finish_reason": "length", **choice})
        return web.json_response(
            {
                "id": "x",
                "object": "text_completion",
                "model": "tiny",
                "choices": choices,
                "usage": _usage(rows, len(rows)),
            }
        )

    async def _chat(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization", ""))
        body = await request.json()
        ids = tuple(self.engine.tokenizer.encode(body["messages"][-1]["content"], bos=True))
        text = await self._text(ids, body)
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "length",
            "message": {"role": "assistant", "content": text},
        }
        if body.get("logprobs"):
            listed = [
                {"token": token, "logprob": value, "bytes": None}
                for token, value in await self._likely(ids, body["top_logprobs"])
            ]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
        return web.json_response(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "tiny",
                "choices": [choice],
                "usage": _usage([ids], 1),
            }
        )

    async def _answer(self, ids: Ids, body: dict[str, Any]) -> dict[str, Any]:
        if codes := body.get("logprob_token_ids"):
            values = await self._logprobs(ids, tuple(codes))
            allowed = body.get("allowed_token_ids") or codes
            picked = max(allowed, key=lambda code: values[codes.index(code)])
            top = {f"token_id:{c}": v for c, v in zip(codes, values, strict=True)}
            return {
                "text": "",
                "logprobs": {"tokens": [f"token_id:{picked}"], "top_logprobs": [top]},
            }
        if answers := (body.get("structured_outputs") or {}).get("choice"):
            return {"text": await self._choose(ids, answers), "logprobs": None}
        logprobs = None
        if count := body.get("logprobs"):
            likely = await self._likely(ids, count)
            logprobs = {
                "tokens": [likely[0][0]],
                "token_logprobs": [likely[0][1]],
                "top_logprobs": [dict(likely)],
                "text_offset": [0],
            }
        return {"text": await self._text(ids, body), "logprobs": logprobs}

    async def _logprobs(self, ids: Ids, codes: Ids) -> tuple[float, ...]:
        (answer,) = await self.engine.read([of_tokens(*ids)], [Question(codes)])
        if not isinstance(answer, Reading):
            raise answer
        return answer.logprobs[0]

    async def _likely(self, ids: Ids, count: int) -> list[tuple[str, float]]:
        values = await self._logprobs(ids, tuple(range(self.vocabulary)))
        best = sorted(range(self.vocabulary), key=lambda code: -values[code])[:count]
        found: dict[str, float] = {}
        for code in best:  # halves of characters are all one text
            text = self.engine.tokenizer.decode([code])
            both = math.exp(values[code]) + math.exp(found.get(text, -math.inf))
            found[text] = math.log(both)
        return sorted(found.items(), key=lambda pair: -pair[1])

    async def _choose(self, ids: Ids, answers: list[str]) -> str:
        spelt = {answer: self.engine.tokenizer.encode(answer) for answer in answers}
        done: list[int] = []
        while len(spelt) > 1:
            depth = len(done)
            following = list(dict.fromkeys(s[depth] for s in spelt.values() if len(s) > depth))
            values = await self._logprobs((*ids, *done), tuple(following))
            done.append(following[values.index(max(values))])
            spelt = {a: s for a, s in spelt.items() if s[: depth + 1] == done}
        return next(iter(spelt))

    async def _text(self, ids: Ids, body: dict[str, Any]) -> str:
        stop = body.get("stop") or []
        (answer,) = await self.engine.generate(
            [of_tokens(*ids)],
            max_tokens=body["max_tokens"],
            stop=[stop] if isinstance(stop, str) else stop,
        )
        if isinstance(answer, EngineError):
            raise answer
        assert isinstance(answer, Generation)
        return answer.text


def _usage(rows: list[Ids], answered: int) -> dict[str, Any]:
    tokens = sum(map(len, rows))
    return {
        "prompt_tokens": tokens,
        "completion_tokens": answered,
        "total_tokens": tokens + answered,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def serving(engine: TransformersEngine, folder: Path, vocabulary: int) -> ModelServer:
    """A server that has started; stop it with ``aio.run(server.stop())``."""
    server = ModelServer(engine, folder, vocabulary)
    aio.run(server.start())
    return server
