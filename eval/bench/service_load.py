"""Load on the service: throughput, latency, refusals and memory, compared with batch scoring.

    python eval/bench/service_load.py rows.csv pool.csv --engine gguf:demo
    python eval/bench/service_load.py rows.csv pool.csv --loopback-ms 20 --minutes 10
    git worktree add ../before COMMIT
    python eval/bench/service_load.py rows.csv pool.csv --loopback-ms 20 --other ../before

A service of one task runs in its own process. Callers send one row per request, each its next one
when the last is answered, for ``--seconds``. All texts are different, and the cache of readings is
off. CPU of the event loop is that of the process's main thread, from Linux.

--rounds   64 callers of the service alternate with batch scoring of the same rows in this process,
           with the same engine
--other    only this: a service of that tree and one of this tree alternate, ``--rounds`` times for
           each number of callers
--apart    the service and batch scoring get one core, callers and loopback server another, as if
           they were on another machine; otherwise callers take CPU from the service
--minutes  64 callers continue, and the memory of the service is sampled every ten seconds
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import aiohttp
from loopback import make_tokenizer

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
OPTIONS = ["--k", "4", "--calibration-size", "0", "--language", "en", "--readout", "words"]


@dataclass
class Load:
    """The answers that callers got."""

    clients: int
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    process_ms: float = 0.0
    loop_ms: float = 0.0
    mib: float = 0.0

    @property
    def answered(self) -> int:
        return self.statuses[200]

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds

    def quantile(self, part: float) -> float:
        ordered = sorted(self.times)
        return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0

    def line(self) -> str:
        refused = self.statuses[429]
        other = sum(self.statuses.values()) - self.answered - refused
        cells = [
            f"{self.clients}",
            f"{self.answered}",
            f"{self.per_second:.1f}",
            f"{self.quantile(0.5):.0f}",
            f"{self.quantile(0.99):.0f}",
            f"{refused}",
            f"{other}",
            f"{self.loop_ms:.2f}",
            f"{self.process_ms:.2f}",
            f"{self.mib:.0f}",
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| clients | answered | rows/s | p50 ms | p99 ms | 429 | other | event loop, CPU ms/request "
    "| process, CPU ms/request | memory, MiB |\n|---|---|---|---|---|---|---|---|---|---|"
)


class Service:
    """A process that serves one task."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def mib(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024

    def cpu(self) -> tuple[float, float]:
        """CPU seconds of the process, and of its main thread."""
        pid = self.process.pid
        return _cpu(Path(f"/proc/{pid}/stat")), _cpu(Path(f"/proc/{pid}/task/{pid}/stat"))


def _cpu(file: Path) -> float:
    parts = file.read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / TICK


@contextmanager
def served(
    pool: str,
    task: str,
    engine: str,
    deadline: float,
    tree: Path = HERE.parents[1],
    core: int | None = None,
) -> Iterator[Service]:
    command = [*_on_core(core), sys.executable, "-m", "ecomfs", "serve", "--task", task]
    command += ["--examples", str(Path(pool).resolve())]
    command += ["--engine", engine, "--port", "0", "--deadline", str(deadline), *OPTIONS]
    environment = {k: v for k, v in os.environ.items() if k != "ECOMFS_API_KEY"}
    environment["ECOMFS_READING_CACHE"] = "off"
    environment["PYTHONPATH"] = f"{tree}{os.pathsep}{tree / 'eval'}"
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tree
    )
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if found := re.search(r"serving at (http://\S+)", line):
            break
    else:
        raise SystemExit(told)
    try:
        yield Service(process, found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _on_core(core: int | None) -> list[str]:
    return [] if core is None else ["taskset", "-c", str(core)]


def move_to(core: int | None) -> None:
    """Pin all threads of this process to a core."""
    if core is not None:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {core})


@contextmanager
def loopback(milliseconds: float, core: int | None = None) -> Iterator[str]:
    port = 8123
    with tempfile.TemporaryDirectory() as folder:
        # Codes of labels must be single tokens, as in any real tokenizer.
        words = ["Sentiment: positive negative", "Label: " + " ".join(ascii_uppercase)]
        make_tokenizer(Path(folder) / "model", words * 200)
        command = [*_on_core(core), sys.executable, str(HERE / "loopback.py"), "--port", str(port)]
        command += ["--latency-ms", str(milliseconds), "--tokenizer", f"{folder}/model"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield f"vllm:http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


class Texts:
    """Row texts that are all different, also between runs, because vectors are cached on disk."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts, self._next = texts, time.time_ns() // 10**9 * 10**5

    def one(self) -> str:
        self._next += 1
        return f"{self._texts[self._next % len(self._texts)][:300]} ({self._next})"


async def load(
    service: Service, texts: Texts, clients: int, *, seconds: float = 0, rows: int = 0
) -> Load:
    """Run this many callers for some time, or until a number of rows was sent."""
    found = Load(clients)
    before, left = service.cpu(), rows
    started = time.monotonic()

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0 if rows else time.monotonic() - started < seconds:
            left -= 1
            body = {"rows": [texts.one()]}
            asked = time.monotonic()
            async with session.post(f"{service.url}/v1/classify", json=body) as answer:
                await answer.read()
                found.statuses[answer.status] += 1
                if answer.status == 200:
                    found.times.append(time.monotonic() - asked)
                wait = float(answer.headers.get("Retry-After", 0))
            if answer.status == 429:
                await asyncio.sleep(min(wait, 1.0))

    limits = aiohttp.ClientTimeout(total=600)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=limits, connector=connector) as session:
        await asyncio.gather(*(caller(session) for _ in range(clients)))
    found.seconds = time.monotonic() - started
    after, asked = service.cpu(), max(1, sum(found.statuses.values()))
    found.process_ms = 1000 * (after[0] - before[0]) / asked
    found.loop_ms = 1000 * (after[1] - before[1]) / asked
    found.mib = service.mib()
    return found


def batch(classifier: Any, texts: Texts, rows: int) -> float:
    """Rows per second of batch scoring."""
    wanted = [texts.one() for _ in range(rows)]
    started = time.monotonic()
    classifier.classify(wanted)
    return rows / (time.monotonic() - started)


def against_batch(
    service: Service, texts: Texts, arguments: argparse.Namespace, engine: str
) -> dict[str, Any]:
    """Batch scoring and the service in alternation."""
    import pandas as pd

    from ecomfs import FewShotClassifier

    os.environ["ECOMFS_READING_CACHE"] = "off"
    labelled = pd.read_csv(arguments.pool)
    classifier = FewShotClassifier(
        arguments.task, engine, k=4, calibration_size=0, language="en", readout="words"
    ).fit(labelled[[arguments.text]], labelled[arguments.label])
    batches, services = [], []
    for _ in range(arguments.rounds):
        move_to(arguments.cores[0])
        batches.append(batch(classifier, texts, arguments.rows))
        move_to(arguments.cores[1])
        found = asyncio.run(load(service, texts, 64, rows=arguments.rows))
        services.append(found.per_second)
        print(f"batch {batches[-1]:.2f} rows/s · service {services[-1]:.2f} rows/s", flush=True)
    ratios = [s / b for s, b in zip(services, batches, strict=True)]
    return {
        "batch": statistics.median(batches),
        "service": statistics.median(services),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


async def endurance(service: Service, texts: Texts, minutes: float) -> list[float]:
    """Memory in MiB of the service every ten seconds, with 64 callers."""
    seen = [service.mib()]

    async def watch() -> None:
        while True:
            await asyncio.sleep(10)
            seen.append(service.mib())

    watching = asyncio.ensure_future(watch())
    await load(service, texts, 64, seconds=60 * minutes)
    watching.cancel()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows_file", help="table of rows to classify")
    parser.add_argument("pool", help="table of labelled rows")
    parser.add_argument("--task", default="review_sentiment")
    parser.add_argument("--text", default="text", help="column of the text")
    parser.add_argument("--label", default="label", help="column of the label")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--loopback-ms", type=float, help="a loopback server with this latency")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--deadline", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3, help="of batch scoring and service")
    parser.add_argument("--rows", type=int, default=64, help="of each round")
    parser.add_argument("--minutes", type=float, default=0, help="of 64 callers, for the memory")
    parser.add_argument("--other", type=Path, help="a checkout of another commit")
    parser.add_argument("--apart", action="store_true", help="callers on a core of their own")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    arguments.cores = sorted(os.sched_getaffinity(0))[:2] if arguments.apart else [None, None]
    if arguments.apart:  # numpy is not imported yet: a thread for each core would be too many
        os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
    import pandas as pd

    texts = Texts([str(t) for t in pd.read_csv(arguments.rows_file)[arguments.text]])
    kept: dict[str, Any] = {"options": {k: str(v) for k, v in vars(arguments).items()}}
    run = measure if arguments.other is None else compare
    if arguments.loopback_ms is None:
        run(arguments, texts, kept, arguments.engine)
    else:
        with loopback(arguments.loopback_ms, arguments.cores[1]) as engine:
            run(arguments, texts, kept, engine)
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def measure(arguments: argparse.Namespace, texts: Texts, kept: dict[str, Any], engine: str) -> None:
    start = (arguments.pool, arguments.task, engine, arguments.deadline)
    move_to(arguments.cores[1])
    with served(*start, core=arguments.cores[0]) as service:
        asyncio.run(load(service, texts, 4, rows=8))  # first use of model and embedder
        print(HEAD, flush=True)
        kept["load"] = []
        for clients in arguments.clients:
            found = asyncio.run(load(service, texts, clients, seconds=arguments.seconds))
            print(found.line(), flush=True)
            kept["load"].append(
                {
                    "clients": clients,
                    "statuses": dict(found.statuses),
                    "rows_per_second": found.per_second,
                    "p50_ms": found.quantile(0.5),
                    "p99_ms": found.quantile(0.99),
                    "loop_ms": found.loop_ms,
                    "process_ms": found.process_ms,
                    "mib": found.mib,
                }
            )
        if arguments.rounds:
            kept["against_batch"] = against_batch(service, texts, arguments, engine)
            print(f"service ÷ batch: {kept['against_batch']['ratio']:.0%} (median)", flush=True)
        if arguments.minutes:
            kept["mib"] = asyncio.run(endurance(service, texts, arguments.minutes))
            print("MiB: " + " ".join(f"{m:.0f}" for m in kept["mib"]), flush=True)


def compare(arguments: argparse.Namespace, texts: Texts, kept: dict[str, Any], engine: str) -> None:
    """A service of each tree, in alternation."""
    start = (arguments.pool, arguments.task, engine, arguments.deadline)
    other_tree = arguments.other.resolve()
    with served(*start, tree=other_tree) as other, served(*start) as this:
        for service in (other, this):
            asyncio.run(load(service, texts, 4, rows=8))
        print("| clients | other, rows/s | this, rows/s | this ÷ other, median | of rounds |")
        print("|---|---|---|---|---|", flush=True)
        kept["compared"] = []
        for clients in arguments.clients:
            rates: list[list[float]] = [[], []]
            for turn in range(arguments.rounds):
                for which in (0, 1) if turn % 2 == 0 else (1, 0):
                    found = asyncio.run(
                        load((other, this)[which], texts, clients, seconds=arguments.seconds)
                    )
                    rates[which].append(found.per_second)
            ratios = [b / a for a, b in zip(*rates, strict=True)]
            one, two = (statistics.median(found) for found in rates)
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            middle = statistics.median(ratios)
            print(f"| {clients} | {one:.1f} | {two:.1f} | {middle:.2f} | {spread} |", flush=True)
            kept["compared"].append({"clients": clients, "other": rates[0], "this": rates[1]})


if __name__ == "__main__":
    main()
