"""Cost of batch scoring without the model's.

    python eval/bench/batch.py                                  overhead and memory (an hour)
    python eval/bench/batch.py --rows 100000 --latency 0 20     the same, shorter
    python eval/bench/batch.py --rows 1000000 --resume          a kill and what it costs
    python eval/bench/batch.py --model gguf:smollm2 --model-rows 100

Clients send prompts to a loopback server with a fixed latency and no model, so rows/s is the rate
at which a client could supply a model. Each client runs in its own process, in alternation. CPU
time (user and system) and peak memory are those of the client process.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopback import make_tokenizer

HERE = Path(__file__).parent
PER_REQUEST = 16
CONCURRENCY = 8
WORDS = [
    *("soft", "warm", "bright", "thin", "wide", "cheap", "late", "broken", "lovely", "sturdy"),
    *("blue", "red", "parcel", "zip", "sleeve", "battery", "charger", "fits", "arrived", "smells"),
    *(
        "works",
        "stopped",
        "after",
        "before",
        "twice",
        "again",
        "never",
        "always",
        "perfect",
        "poor",
    ),
]
POOL = [("it works very well", "positive"), ("it broke at once", "negative")] * 8


def rows(count: int, seed: int = 1) -> Iterator[tuple[str, str, str]]:
    """Short reviews, all different."""
    chance = random.Random(seed)
    for number in range(count):
        words = " ".join(chance.choices(WORDS, k=12))
        yield str(number), f"order {number}: {words}", f"shop {number % 50}"


def make_table(path: Path, count: int) -> Path:
    """A CSV file of ``count`` rows, made once."""
    if not path.exists():
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "text", "shop"])
            writer.writerows(rows(count))
    return path


@contextmanager
def server(latency: float, folder: Path) -> Iterator[str]:
    """A loopback server in a separate process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "loopback.py"), "--port", str(port)]
    command += ["--latency-ms", str(latency), "--tokenizer", str(folder / "tokenizer")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                stats(url)
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/stats", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


# -- the clients ----------------------------------------------------------------------------------


def pipeline(url: str, k: int) -> Any:
    from ecomfs.engine.cached import CachedEngine, ReadingCache
    from ecomfs.engine.vllm.engine import VllmEngine
    from ecomfs.estimators import FewShotClassifier

    # As the engine is opened for a command, without the start-up check, which a server that is no
    # model does not pass.
    engine: Any = VllmEngine(url, prompts_per_request=PER_REQUEST, concurrency=CONCURRENCY)
    if os.environ.get("ECOMFS_READING_CACHE") != "off":
        engine = CachedEngine(engine, ReadingCache.open())
    clf = FewShotClassifier(
        "review_sentiment",
        engine,
        k=k,
        embedder="hashed",
        language="en",
        calibration_size=0,
        similarity="text",
    )
    texts = [f"{text} {n}" for n, (text, _) in enumerate(POOL)]
    return clf.fit(texts, [label for _, label in POOL]).pipeline_


def run_ecomfs(url: str, source: Path, output: Path, k: int) -> dict[str, Any]:
    from ecomfs.batch import score_table
    from ecomfs.core import event_loop

    made = pipeline(url, k)
    tally = score_table(source, output, made).tally
    event_loop.run(made.engine.aclose())
    return {"outside": 1 - tally.reading_seconds / tally.seconds}


def run_aiohttp(url: str, source: Path, output: Path, k: int) -> dict[str, Any]:
    """A plain loop: the same requests with prompts as text, no retries, no journal, no checks."""

    def prompt(row: list[str]) -> str:
        return f"Is this review positive or negative?\n\nReview: {row[1]}\nSentiment:"

    asyncio.run(_plain(url, source, output, prompt))
    return {}


def run_aiohttp_tokens(url: str, source: Path, output: Path, k: int) -> dict[str, Any]:
    """The same loop with our template and token ids, as constrained readings need; with ``k``
    demonstrations always the same ones, without a search.
    """
    import jinja2
    from tokenizers import Tokenizer

    from ecomfs.task import load_task, template_source

    card = load_task("review_sentiment")
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        template_source("review_sentiment", "en", "v1")
    )
    labels = [
        {"answer": spec.name, "word": spec.name, "definition": None} for spec in card.labels[:2]
    ]
    tokenizer = Tokenizer.from_file(str(source.parent / "tokenizer" / "tokenizer.json"))
    shown = [
        {"text": f"{text} {n}", "answer": label, "row": {"text": f"{text} {n}"}}
        for n, (text, label) in enumerate(POOL[:k])
    ]

    def prompt(row: list[str]) -> list[int]:
        text = template.render(
            instruction=card.instruction.get("en"),
            labels=labels,
            demonstrations=shown,
            row={"text": row[1]},
            text=row[1],
        )
        return list(tokenizer.encode(text.rstrip(), add_special_tokens=False).ids)

    asyncio.run(_plain(url, source, output, prompt))
    return {}


async def _plain(url: str, source: Path, output: Path, prompt: Callable[[list[str]], Any]) -> None:
    import aiohttp

    slots = asyncio.Semaphore(CONCURRENCY)
    codes = [10, 11]

    async def ask(session: aiohttp.ClientSession, part: list[list[str]]) -> list[list[str]]:
        prompts = [prompt(row) for row in part]
        body = {
            "model": "loopback",
            "prompt": prompts,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": 2,
            "logprob_token_ids": codes,
            "allowed_token_ids": codes,
            "return_tokens_as_token_ids": True,
        }
        try:
            async with session.post(f"{url}/v1/completions", json=body) as response:
                answer = await response.json()
        finally:
            slots.release()
        picked = [c["logprobs"]["tokens"][0] for c in answer["choices"]]
        return [[*row, token] for row, token in zip(part, picked, strict=True)]

    with source.open(newline="") as read, output.open("w", newline="") as write:
        reader, writer = csv.reader(read), csv.writer(write)
        writer.writerow([*next(reader), "predicted"])
        waiting: list[asyncio.Task[list[list[str]]]] = []
        async with aiohttp.ClientSession() as session:
            part: list[list[str]] = []
            for row in reader:
                part.append(row)
                if len(part) == PER_REQUEST:
                    await slots.acquire()
                    waiting.append(asyncio.create_task(ask(session, part)))
                    part = []
                    while waiting and waiting[0].done():
                        writer.writerows(waiting.pop(0).result())
            if part:
                await slots.acquire()
                waiting.append(asyncio.create_task(ask(session, part)))
            for task in waiting:
                writer.writerows(await task)


CLIENTS = {
    "ecomfs": (run_ecomfs, 0),
    "ecomfs, k = 4": (run_ecomfs, 4),
    "aiohttp loop, text": (run_aiohttp, 0),
    "aiohttp loop, our template and token ids": (run_aiohttp_tokens, 0),
    "aiohttp loop, our template and token ids, k = 4": (run_aiohttp_tokens, 4),
}


def client(name: str, url: str, source: Path, output: Path) -> None:
    """Main function of a client's process."""
    run, k = CLIENTS[name]
    run(url, make_table(source.with_name("warm.csv"), 500), output.with_name("warm.out.csv"), k)
    before, started = _cpu(), time.perf_counter()
    said = run(url, source, output, k)
    wall = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"wall": wall, "cpu": _cpu() - before, "peak": peak, **said}), flush=True)
    os._exit(0)  # the engines of this process need no farewell


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# -- the measurements -----------------------------------------------------------------------------


def overhead(folder: Path, counts: list[int], latencies: list[float], names: list[str]) -> None:
    """Rows/s, CPU per row and peak memory of each client, in alternation."""
    print("\n| server | rows | client | rows/s | CPU per row | wall per row | peak memory |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for latency in latencies:
        for count in counts:
            source = make_table(folder / f"in{count}.csv", count)
            for name in names:
                with server(latency, folder) as url:
                    found = _run(name, url, source, folder)
                rate = count / found["wall"]
                print(
                    f"| loopback, {latency:g} ms | {count:,} | {name} | {rate:,.0f} "
                    f"| {found['cpu'] / count * 1e6:.0f} µs | {found['wall'] / count * 1e6:.0f} µs "
                    f"| {found['peak'] / 1e6:.0f} MB |",
                    flush=True,
                )


def _run(name: str, url: str, source: Path, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        _command(name, url, source, folder / "out.csv"),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment(folder),
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _command(name: str, url: str, source: Path, output: Path) -> list[str]:
    return [sys.executable, __file__, "--client", name, url, str(source), str(output)]


def environment(folder: Path) -> dict[str, str]:
    """Environment of a run with its own empty cache, so that every row is sent."""
    cache = tempfile.mkdtemp(dir=folder)
    return {**os.environ, "ECOMFS_CACHE": cache, "ECOMFS_STATE": str(folder / "state")}


def resume(folder: Path, count: int, share: float = 0.6) -> None:
    """Kill a run, start it again, and time until the server gets the next request."""
    source, output = make_table(folder / f"in{count}.csv", count), folder / "resumed.csv"
    with server(0, folder) as url:
        surroundings = environment(folder)
        process = subprocess.Popen(
            _command("ecomfs", url, source, output), stdout=subprocess.DEVNULL, env=surroundings
        )
        while stats(url)["prompts"] < share * count:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        asked = stats(url)["prompts"]
        stats(url)
        started = time.time()
        again = [sys.executable, __file__, "--again", url, str(source), str(output)]
        done = subprocess.run(
            again, stdout=subprocess.PIPE, text=True, check=True, env=surroundings
        )
        found = json.loads(done.stdout.splitlines()[-1])
        first = stats(url)["first"]
    lines = sum(1 for _ in output.open()) - 1
    print(
        f"\nkilled after {asked:,} of {count:,} prompts; {found['resumed']:,} rows needed no look; "
        f"the server was asked again {first - started:.1f} s after the start of the process, "
        f"{first - found['called']:.1f} s after the call; {lines:,} rows out"
    )


def again(url: str, source: Path, output: Path) -> None:
    """Main function of the process that resumes."""
    from ecomfs.batch import score_table

    made = pipeline(url, 0)
    called = time.time()
    tally = score_table(source, output, made).tally
    print(json.dumps({"called": called, "resumed": tally.resumed}), flush=True)
    os._exit(0)


def real_model(spec: str, count: int, folder: Path) -> None:
    """The share of time outside the model, with a real model."""
    from ecomfs.batch import score_table
    from ecomfs.estimators import FewShotClassifier

    os.environ["ECOMFS_READING_CACHE"] = "off"
    source = make_table(folder / f"in{count}.csv", count)
    clf = FewShotClassifier(
        "review_sentiment", spec, k=4, embedder="hashed", language="en", calibration_size=0
    )
    made = clf.fit([f"{t} {n}" for n, (t, _) in enumerate(POOL)], [label for _, label in POOL])
    tally = score_table(source, folder / "real.csv", made.pipeline_).tally
    outside = tally.seconds - tally.reading_seconds
    print(
        f"\n{spec}: {tally.rows} rows in {tally.seconds:.1f} s, of which {outside:.2f} s "
        f"({outside / tally.seconds:.1%}) without a prompt at the model"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 20.0], help="in ms")
    parser.add_argument("--clients", nargs="*", default=list(CLIENTS))
    parser.add_argument("--resume", action="store_true", help="only a kill and a resume")
    parser.add_argument("--model", help="only this real model")
    parser.add_argument("--model-rows", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where to work [a temporary folder]")
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--again", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        name, url, source, output = arguments.client
        client(name, url, Path(source), Path(output))
        return
    if arguments.again:
        url, source, output = arguments.again
        again(url, Path(source), Path(output))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.model:
            real_model(arguments.model, arguments.model_rows, folder)
            return
        make_tokenizer(folder / "tokenizer", (text for _, text, _ in rows(2000)))
        if arguments.resume:
            resume(folder, max(arguments.rows))
        else:
            overhead(folder, arguments.rows, arguments.latency, arguments.clients)


if __name__ == "__main__":
    main()
