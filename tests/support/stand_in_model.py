"""A loopback server that speaks vLLM's protocol, with a real (tiny, untrained) model behind it.

So the served engines can be held against the model itself: same tokens, same probabilities. Text
is greedy; a constraint to answers is followed token by token.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from aiohttp import web

from ecomfs.core import event_loop
from ecomfs.errors import EngineError
from ecomfs.types import Generation, Question, Reading, Turn
from prompts import of_tokens

Ids = tuple[int, ...]


class ModelServer:
    """Serves ``engine``, read from ``folder``, under the name ``tiny``.

    Attributes:
        vocabulary: its tokens are 0 to this.
        keys: API keys that came, in order.
        chats: token ids of what was asked in turns, in order.
        ignores: fields of a completion request that it drops, as an older server or a gateway
            does; ``messages``: it renders no turns.
    """

    def __init__(self, engine: Any, folder: Path, vocabulary: int) -> None:
        self.ignores: frozenset[str] = frozenset()
        self.engine = engine
        self.folder = folder
        self.vocabulary = vocabulary
        self.keys: list[str] = []
        self.chats: list[Ids] = []
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
        if "messages" in body and "messages" in self.ignores:
            return web.json_response({"error": "no chat template"}, status=400)
        if "messages" in body:
            return web.json_response({"tokens": self._chat_ids(body["messages"])})
        # Like vLLM, which reads control tokens in any text.
        ids = self.engine.tokenizer.encode_control(body["prompt"])
        bos = self.engine.tokenizer.encode("", bos=True) if body["add_special_tokens"] else []
        return web.json_response({"tokens": [*bos, *ids]})

    def _chat_ids(self, messages: list[dict[str, str]]) -> list[int]:
        turns = [Turn(message["role"], message["content"]) for message in messages]
        return list(self.engine.chat.encode(self.engine.chat.render(turns)))

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"prompt": self.engine.tokenizer.decode(body["tokens"])})

    async def _completions(self, request: web.Request) -> web.Response:
        whole = await request.json()
        body = {name: value for name, value in whole.items() if name not in self.ignores}
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
        ids = tuple(self._chat_ids(body["messages"]))
        self.chats.append(ids)
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
            return await self._choose(ids, answers, body.get("logprobs") or 0)
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

    async def _choose(self, ids: Ids, answers: list[str], count: int) -> dict[str, Any]:
        """Like vLLM, which masks before it takes logarithms."""
        encode, decode = self.engine.tokenizer.encode, self.engine.tokenizer.decode
        (end,) = encode("\n")
        spelt = [encode(answer) for answer in answers]
        done: list[int] = []
        tokens: list[str] = []
        listed: list[dict[str, float]] = []
        while end not in done:
            depth = len(done)
            going = [s for s in spelt if s[:depth] == done]
            allowed = tuple({(s[depth] if len(s) > depth else end): None for s in going})
            if allowed == (end,):
                break
            values = await self._logprobs((*ids, *done), allowed)
            total = math.log(sum(map(math.exp, values)))
            ordered = sorted(zip(allowed, values, strict=True), key=lambda pair: -pair[1])
            done.append(ordered[0][0])
            tokens.append(decode(done[-1:]))
            listed.append({decode([token]): value - total for token, value in ordered[:count]})
        text = decode([token for token in done if token != end])
        return {
            "text": text,
            "logprobs": {"tokens": tokens, "top_logprobs": listed} if count else None,
        }

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


def serving(engine: Any, folder: Path, vocabulary: int) -> ModelServer:
    """A server that has started; stop it with ``event_loop.run(server.stop())``."""
    server = ModelServer(engine, folder, vocabulary)
    event_loop.run(server.start())
    return server
