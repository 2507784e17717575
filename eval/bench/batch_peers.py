"""Batch labelling compared with other libraries: same rows, same server, one run.

    python eval/bench/batch_peers.py                                    loopback, 0 and 20 ms
    python eval/bench/batch_peers.py --url http://host:8000 --model M   a real server
    python eval/bench/batch_peers.py --only naive ecomfs --rows 100

Every library runs in its own process and environment (made under ``.cache`` the first time); in
each round every one has a turn, in changing order. The task is zero-shot sentiment of short reviews
(``--k 2``: with two examples). Libraries without their own prompt send that of ecomfs. Load
generators, plain aiohttp loops that only send requests, show the maximum rate of the server. CPU
time and memory include all child processes.

The loopback server has no model: its answers are valid but random, and rows/s is the rate at which
a client could supply a model.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import batch
from loopback import make_tokenizer
from peers.environment import Peer, python_of
from process_tree import Watch

HERE = Path(__file__).parent
LABELS = ["positive", "negative"]
WARM = 8  # rows


PEERS = [
    Peer("load generator, 16 rows per request", "score_generator_completions"),
    Peer("load generator, chat", "score_generator_chat"),
    Peer("ecomfs", "score_ecomfs"),
    Peer("naive loop (openai)", "score_naive", "score_naive.txt"),
    Peer("scikit-llm", "score_scikit_llm", "score_scikit_llm.txt"),
    Peer("autolabel", "score_autolabel", "score_autolabel.txt"),
    Peer("DSPy", "score_dspy", "dspy.txt"),
    Peer("litellm batch_completion", "score_litellm", "score_litellm.txt"),
    Peer("Ray Data, HTTP stage", "score_ray", "score_ray.txt"),
]


@dataclass
class Turns:
    """Measurements of a library, one value per round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    ok: list[int] = field(default_factory=list)


class Worker:
    """A library in its process."""

    def __init__(self, peer: Peer, python: Path, job: Path, log: Path) -> None:
        self.peer = peer
        self.log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, HERE / "peers" / "score_worker.py", peer.module, job],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_surroundings(job.parent),
            )
        self.watch = Watch(self._process.pid)

    def score(self, start: int, stop: int) -> dict[str, Any]:
        """Send one job and return its answer."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        try:
            pipes.stdin.write(json.dumps({"start": start, "stop": stop}) + "\n")
            pipes.stdin.flush()
        except BrokenPipeError:
            pass
        line = pipes.stdout.readline()
        if not line:
            last = [t for t in self.log.read_text(errors="replace").splitlines() if t.strip()]
            raise RuntimeError((last or ["it ended"])[-1])
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self.watch.close()
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _surroundings(folder: Path) -> dict[str, str]:
    """The environment: without keys, proxies, telemetry and caches of other runs."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return kept | {
        "OPENAI_API_KEY": "none",
        "HOME": str(folder),
        "ECOMFS_CACHE": str(folder / "cache"),
        "ECOMFS_STATE": "off",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
    }


def measure(
    options: Any, url: str, model: str, texts: list[str]
) -> tuple[dict[str, Turns], dict[str, str]]:
    """Measure all libraries against one server; also why some could not be measured."""
    turns: dict[str, Turns] = {}
    failed: dict[str, str] = dict(options.missing)
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory() as temporary:
        prompts = _prompts(options, url, model, texts)
        for peer, python in options.peers:
            own = Path(temporary) / peer.module
            own.mkdir()
            examples = {"k": options.k, "examples": options.examples}
            (own / "examples.json").write_text(json.dumps(examples))
            job = own / "job.json"
            job.write_text(
                json.dumps(
                    {
                        "url": url,
                        "model": model,
                        "in_flight": options.in_flight,
                        "labels": LABELS,
                        "texts": texts,
                        "prompts": prompts,
                        "folder": str(own),
                    }
                )
            )
            worker = Worker(peer, python, job, own / "errors.txt")
            try:
                worker.score(0, min(WARM, len(texts)))
            except RuntimeError as error:
                failed[peer.name] = str(error)
                print(f"{peer.name} fails: {error}", file=sys.stderr, flush=True)
                worker.close()
                continue
            workers.append(worker)
            turns[peer.name] = Turns()
        try:
            for number in range(options.rounds):
                shift = number % max(1, len(workers))
                for worker in workers[shift:] + workers[:shift]:
                    if worker.peer.name not in failed:
                        _turn(worker, len(texts), url, turns[worker.peer.name], failed)
        finally:
            for worker in workers:
                worker.close()
    return turns, failed


def _turn(worker: Worker, rows: int, url: str, into: Turns, failed: dict[str, str]) -> None:
    worker.watch.forget()
    before, asked = worker.watch.cpu(), _asked(url)
    try:
        answer = worker.score(0, rows)
    except RuntimeError as error:
        failed[worker.peer.name] = str(error)
        return
    new = _asked(url) - asked
    if asked and new < rows:
        failed[worker.peer.name] = f"it asked {new} times for {rows} rows: a cache answered"
        return
    into.cpu.append(worker.watch.cpu() - before)
    into.wall.append(answer["wall"])
    into.ok.append(answer["ok"])
    into.peak.append(worker.watch.peak)
    print(
        f"{worker.peer.name}: {rows / answer['wall']:.1f} rows/s, {answer['ok']} ok",
        file=sys.stderr,
        flush=True,
    )


def _asked(url: str) -> int:
    """Number of prompts that a loopback server has received; 0 for other servers."""
    try:
        return int(batch.stats(url)["prompts"])
    except (OSError, ValueError, KeyError):
        return 0


def _prompts(options: Any, url: str, model: str, texts: list[str]) -> list[str]:
    """The prompts of ecomfs."""
    sys.path.insert(0, str(HERE / "peers"))
    from score_ecomfs import classifier

    made = classifier(url, model, options.in_flight, options.k, options.examples).pipeline_
    cases = made.prepare([{"text": t} for t in texts], [str(n) for n in range(len(texts))])
    return [case.prompt.text if case.prompt is not None else "" for case in cases]


def markdown(server: str, rows: int, turns: dict[str, Turns], failed: dict[str, str]) -> str:
    """Medians over rounds."""
    lines = [
        f"| {server} | rows/s | of the ceiling | CPU per row | peak memory | ok |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    best = max(
        (rows / statistics.median(t.wall) for n, t in turns.items() if "load" in n and t.wall),
        default=0,
    )
    for name, own in turns.items():
        if not own.wall:
            continue
        rate = rows / statistics.median(own.wall)
        share = f"{rate / best:.0%}" if best else "–"
        lines.append(
            f"| {name} | {rate:,.1f} | {share} | {1e3 * statistics.median(own.cpu) / rows:.2f} ms"
            f" | {max(own.peak) / 1e6:,.0f} MB | {min(own.ok)} of {rows} |"
        )
    lines.append("")
    lines += [f"Not measured: {name}: {why}" for name, why in failed.items()]
    return "\n".join(lines) + "\n"


@contextmanager
def _servers(options: Any) -> Iterator[Iterator[tuple[str, str, str]]]:
    """Each server's name, address and model, one after another."""

    def loopbacks() -> Iterator[tuple[str, str, str]]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_tokenizer(folder / "tokenizer", (text for _, text, _ in batch.rows(2000)))
            for latency in options.latency:
                with batch.server(latency, folder) as url:
                    yield f"loopback, {latency:g} ms", url, "loopback"

    if options.url:
        yield iter([(options.model, options.url.rstrip("/"), options.model)])
    else:
        yield loopbacks()


def _read(path: Path, columns: list[str], most: int) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [[row[c] for c in columns] for row in csv.DictReader(file)][:most]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=64, help="rows asked at once at most")
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 20.0], help="in ms")
    parser.add_argument("--url", help="a real server instead, as http://host:8000")
    parser.add_argument("--model", default="", help="its model")
    parser.add_argument("--input", type=Path, help="CSV with a column text [made-up reviews]")
    parser.add_argument("--pool", type=Path, help="CSV with text and label, for --k")
    parser.add_argument("--k", type=int, default=0, help="examples in a prompt")
    parser.add_argument("--only", nargs="+", help="words of the names of the peers to run")
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench-peers"))
    parser.add_argument("--out", type=Path, help="file for the raw figures, as JSON")
    options = parser.parse_args()
    if options.url and not options.model:
        parser.error("--url needs --model")
    texts = [text for _, text, _ in batch.rows(options.rows)]
    if options.input:
        texts = [text for (text,) in _read(options.input, ["text"], options.rows)]
    options.examples = [[f"{text} {n}", label] for n, (text, label) in enumerate(batch.POOL)]
    if options.pool:
        options.examples = _read(options.pool, ["text", "label"], 10_000)
    words = [w.lower() for w in options.only or [""]]
    options.peers, options.missing = [], {}
    for peer in PEERS:
        if not any(w in peer.name.lower() for w in words):
            continue
        try:
            python = Path(sys.executable)
            if peer.requirements:
                python = python_of(peer.requirements, options.cache.resolve())
        except RuntimeError as error:
            options.missing[peer.name] = str(error)
            print(f"{peer.name} cannot be installed: {error}", file=sys.stderr)
            continue
        options.peers.append((peer, python))
    raw: dict[str, Any] = {}
    with _servers(options) as servers:
        for name, url, model in servers:
            turns, failed = measure(options, url, model, texts)
            raw[name] = {"turns": {n: vars(t) for n, t in turns.items()}, "failed": failed}
            print(markdown(name, len(texts), turns, failed), flush=True)
    if options.out:
        options.out.write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
