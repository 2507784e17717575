"""The systems of ``gpu.py`` that share one vLLM server."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gpu_report import GENERATOR, LAYOUTS, SERVED, Turn
from gpu_rows import Rows, pipeline, score, token_ids

PER_REQUEST = 16
"""Prompts of one request."""


def generate(url: str, model: str, prompts: list[list[int]], in_flight: int) -> tuple[float, int]:
    """Seconds that plain aiohttp takes to get one token for every prompt, and the number of missing
    answers.
    """
    import aiohttp

    parts = [prompts[n : n + PER_REQUEST] for n in range(0, len(prompts), PER_REQUEST)]

    async def all_parts() -> int:
        todo, answered = iter(parts), 0
        limits = aiohttp.ClientTimeout(total=None)

        async def sender(session: aiohttp.ClientSession) -> None:
            nonlocal answered
            for part in todo:
                body = {"model": model, "prompt": part, "temperature": 0, "max_tokens": 1}
                async with session.post(f"{url}/v1/completions", json=body) as response:
                    response.raise_for_status()
                    answered += len((await response.json())["choices"])

        async with aiohttp.ClientSession(
            timeout=limits, connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            await asyncio.gather(
                *(sender(session) for _ in range(max(1, in_flight // PER_REQUEST)))
            )
        return answered

    began = time.perf_counter()
    answered = asyncio.run(all_parts())
    return time.perf_counter() - began, len(prompts) - answered


# What `vllm bench serve` runs; builds of another name than vllm cannot run the command itself.
_BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def bench_serve(
    url: str, model: str, folder: str, texts: list[str], in_flight: int, seconds: float
) -> tuple[float, int]:
    """Seconds that vLLM's own benchmark takes to get one token for every prompt, and the number of
    missing answers.

    Raises:
        RuntimeError: it fails; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as temporary:
        asked = Path(temporary) / "prompts.jsonl"
        asked.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        command = [sys.executable, "-c", _BENCH_SERVE, "--backend", "openai"]
        command += ["--base-url", url, "--endpoint", "/v1/completions", "--model", model]
        command += ["--tokenizer", folder, "--dataset-name", "custom", "--dataset-path", str(asked)]
        command += ["--skip-chat-template", "--disable-shuffle", "--custom-output-len", "1"]
        command += ["--num-prompts", str(len(texts)), "--max-concurrency", str(in_flight)]
        command += ["--num-warmups", "0", "--ignore-eos", "--temperature", "0", "--save-result"]
        command += ["--result-dir", temporary, "--result-filename", "result.json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, seconds))
        result = Path(temporary) / "result.json"
        if done.returncode or not result.is_file():
            raise RuntimeError((done.stderr.strip().splitlines() or ["it failed"])[-1])
        found = json.loads(result.read_text())
    return float(found["duration"]), len(texts) - int(found["completed"])


class Served:
    """The systems that share one server.

    Args:
        name: of the model, in the report.
        server: a :class:`ecomfs.engine.vllm.server.VllmServer`.
        folder: of the model.
    """

    def __init__(self, name: str, server: Any, folder: str, in_flight: Sequence[int]) -> None:
        from ecomfs.engine.vllm.engine import VllmEngine

        self._name = name
        self._url = server.url
        self._folder = folder
        self._in_flight = in_flight
        self._engine = VllmEngine(server.url, timeout=600)
        self._model = str(server_model(server.url))
        self._pipelines: dict[str, Any] = {}
        self._prompts: dict[str, list[list[int]]] = {}
        self._texts: dict[str, list[str]] = {}

    def prepare(self, rows: Rows) -> dict[str, float]:
        """Make the prompts; layout → their mean length in tokens."""
        self._rows = rows
        for layout in LAYOUTS:
            made = self._pipelines[layout] = pipeline(self._engine, rows, layout)
            prompts = self._prompts[layout] = token_ids(made, rows)
            self._texts[layout] = [made.engine.tokenizer.decode(ids) for ids in prompts]
        return {name: statistics.fmean(map(len, p)) for name, p in self._prompts.items()}

    def warm_up(self, count: int) -> float:
        """Rows per second of a first, unmeasured turn."""
        self._reset()
        prompts = self._prompts["retrieved"][:count]
        return len(prompts) / generate(self._url, self._model, prompts, self._in_flight[0])[0]

    def shorten(self, count: int) -> None:
        """Keep only the first ``count`` rows."""
        self._rows = self._rows.first(count)
        for layout in LAYOUTS:
            self._prompts[layout] = self._prompts[layout][:count]
            self._texts[layout] = self._texts[layout][:count]

    def turn(self, layout: str, system: str, number: int, seconds: float) -> Turn:
        """Measure one system once."""
        if system == GENERATOR:
            each = [
                self._counted(
                    partial(generate, self._url, self._model, self._prompts[layout], in_flight)
                )
                for in_flight in self._in_flight
            ]
            (wall, failed), cached = min(each, key=lambda one: one[0][0])
        elif system == SERVED:
            (wall, failed), cached = self._counted(
                lambda: score(self._pipelines[layout], self._rows)
            )
        else:
            texts, most = self._texts[layout], max(self._in_flight)
            (wall, failed), cached = self._counted(
                lambda: bench_serve(self._url, self._model, self._folder, texts, most, seconds)
            )
        rows = len(self._rows.texts)
        return Turn(self._name, layout, system, number, rows, wall, cached, failed)

    def close(self) -> None:
        """Close the connections."""
        from ecomfs.core import event_loop

        event_loop.run(self._engine.aclose())

    def _counted(
        self, job: Callable[[], tuple[float, int]]
    ) -> tuple[tuple[float, int], float | None]:
        self._reset()
        before = self._counters()
        found = job()
        time.sleep(0.5)  # the server counts a moment after it answered
        now = self._counters()
        if before is None or now is None or now[1] == before[1]:
            return found, None
        return found, (now[0] - before[0]) / (now[1] - before[1])

    def _counters(self) -> tuple[int, int] | None:
        from ecomfs.core import event_loop

        return event_loop.run(self._engine.cache_counters())

    def _reset(self) -> None:
        request = urllib.request.Request(f"{self._url}/reset_prefix_cache", method="POST")
        urllib.request.urlopen(request, timeout=60).close()


def server_model(url: str) -> str:
    """Name of the served model."""
    with urllib.request.urlopen(f"{url}/v1/models", timeout=30) as answer:
        return str(json.load(answer)["data"][0]["id"])
