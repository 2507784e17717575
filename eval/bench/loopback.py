"""A loopback server that speaks vLLM's protocol with a fixed latency. It is no model: what is
measured against it is the client.

    python eval/bench/loopback.py --port 8123 --latency-ms 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONTEXT = 8192
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
    """Counts what it is asked; answers after ``latency`` seconds."""

    def __init__(self, folder: Path, latency: float) -> None:
        self._folder = folder
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
        return app

    async def _models(self, _: web.Request) -> web.Response:
        card = {"id": "loopback", "root": str(self._folder), "max_model_len": CONTEXT}
        return web.json_response({"object": "list", "data": [card]})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "loopback"})

    async def _stats(self, _: web.Request) -> web.Response:
        """Prompts so far, and when the first one came since the last call."""
        said = {"prompts": self.prompts, "first": self.first}
        self.first = None
        return web.json_response(said)

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        ids = self._tokenizer.encode(body["prompt"], add_special_tokens=False).ids
        return web.json_response({"tokens": ids})

    async def _completions(self, request: web.Request) -> web.Response:
        if self.first is None:
            self.first = time.time()
        body = json.loads(await request.read())
        prompts = body["prompt"]
        self.prompts += len(prompts)
        if self._latency:
            await asyncio.sleep(self._latency)
        codes = body["logprob_token_ids"]
        return web.Response(
            body=json.dumps(_answer(prompts, codes)).encode(), content_type="application/json"
        )


def _answer(prompts: list[Any], codes: list[int]) -> dict[str, Any]:
    choices = []
    for n, prompt in enumerate(prompts):
        number = sum(prompt) if isinstance(prompt, list) else sum(prompt.encode())
        top = {f"token_id:{c}": -1.0 - (number * 31 + c * 7) % 97 / 50 for c in codes}
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
    arguments = parser.parse_args()
    folder = arguments.tokenizer or Path(tempfile.mkdtemp())
    if not (folder / "tokenizer.json").exists():
        make_tokenizer(folder, [_LINE] * 100)
    app = Loopback(folder, arguments.latency_ms / 1000).app()
    print("ready", flush=True)
    web.run_app(app, host="127.0.0.1", port=arguments.port, print=None, access_log=None)


if __name__ == "__main__":
    sys.exit(main())
