"""A loopback server with a fixed latency and no model, for measuring clients. It speaks vLLM's
protocol, and OpenAI's completions and chat.

    python eval/bench/loopback.py --port 8123 --latency-ms 20

A chat is answered with one of the ``--labels``, selected by the sum of the bytes of the text, in
the form that the client's prompt asks for: JSON, the sections of DSPy, or the bare word.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONTEXT = 8192
_DSPY = re.compile(r"starting with the field `\[\[ ## (\w+) ## \]\]`")
_LINE = "Review: row it fits well and the colour is right. Sentiment: positive negative "


def make_tokenizer(folder: Path, texts: Iterable[str]) -> Path:
    """A byte-level BPE tokenizer of 2,000 pieces, as a model folder has one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


class Loopback:
    """Counts its requests and answers after ``latency`` seconds."""

    def __init__(self, folder: Path, latency: float, labels: Sequence[str]) -> None:
        self._folder = folder
        self._labels = labels
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._latency = latency
        self.prompts = 0
        self.first: float | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        card = {"id": "loopback", "root": str(self._folder), "max_model_len": CONTEXT}
        return web.json_response({"object": "list", "data": [card]})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "loopback"})

    async def _stats(self, _: web.Request) -> web.Response:
        """Number of prompts so far, and the time of the first one since the last call."""
        said = {"prompts": self.prompts, "first": self.first}
        self.first = None
        return web.json_response(said)

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "messages" in body:  # as a server of a base model answers
            return web.json_response({"error": "no chat template"}, status=400)
        ids = self._tokenizer.encode(body["prompt"], add_special_tokens=False).ids
        return web.json_response({"tokens": ids})

    async def _completions(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        prompts = body["prompt"]
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        await self._wait(len(prompts))
        codes = body.get("logprob_token_ids")
        if codes:
            return _json(_answer(prompts, codes))
        choices = [
            {"index": n, "text": f" {self._label(str(prompt))}", "finish_reason": "stop"}
            for n, prompt in enumerate(prompts)
        ]
        return _json({"object": "text_completion", "choices": choices, **_HEAD})

    async def _chat(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        await self._wait(1)
        said = "\n".join(_text(message) for message in body["messages"])
        label = self._label(said)
        field = _DSPY.search(said)
        if field:
            content = f"[[ ## {field.group(1)} ## ]]\n{label}\n\n[[ ## completed ## ]]"
        elif "json" in said.lower():
            content = json.dumps({"label": label})
        else:
            content = label
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _json({"object": "chat.completion", "choices": [choice], **_HEAD})

    async def _wait(self, prompts: int) -> None:
        if self.first is None:
            self.first = time.time()
        self.prompts += prompts
        if self._latency:
            await asyncio.sleep(self._latency)

    def _label(self, text: str) -> str:
        return self._labels[sum(text.encode()) % len(self._labels)]


_HEAD = {
    "id": "loopback",
    "created": 0,
    "model": "loopback",
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(p.get("text", "") for p in content)


def _json(body: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")


def _answer(prompts: list[Any], codes: list[int]) -> dict[str, Any]:
    choices = []
    for n, prompt in enumerate(prompts):
        number = sum(prompt) if isinstance(prompt, list) else sum(prompt.encode())
        # The sum is far below one for any number of codes: a reading that sums above one fails.
        top = {
            f"token_id:{c}": -1.0 - math.log(len(codes)) - (number * 31 + c * 7) % 97 / 50
            for c in codes
        }
        best = max(top, key=top.__getitem__)
        choices.append(
            {"index": n, "text": "", "logprobs": {"tokens": [best], "top_logprobs": [top]}}
        )
    return {"choices": choices, "usage": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--tokenizer", type=Path, help="folder with tokenizer.json; made if absent")
    parser.add_argument("--labels", nargs="+", default=["positive", "negative"])
    arguments = parser.parse_args()
    folder = arguments.tokenizer or Path(tempfile.mkdtemp())
    if not (folder / "tokenizer.json").exists():
        make_tokenizer(folder, [_LINE] * 100)
    app = Loopback(folder, arguments.latency_ms / 1000, arguments.labels).app()
    print("ready", flush=True)
    web.run_app(app, host="127.0.0.1", port=arguments.port, print=None, access_log=None)


if __name__ == "__main__":
    sys.exit(main())
