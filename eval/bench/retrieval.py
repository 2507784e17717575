"""Speed, recall and memory of retrieval, compared with other libraries in one run.

    python eval/bench/retrieval.py                               pools of 100 … 1,000,000
    python eval/bench/retrieval.py --sizes 1000 --only numpy     one size, one library

Every system runs in its own process, other libraries with the packages of their own environment.
All get the same vectors, so that only retrieval is timed, inside the process. In each round every
system has a turn, in changing order, so that other load affects all of them; a ratio is the median
over rounds of our time divided by theirs. All search with one thread (``--threads``), as on a
loaded server; only indexes are built with all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers.environment import Peer, python_of
from retrieval_data import DIMENSIONS, QUERIES, make_pool, recall
from retrieval_report import markdown, plot

HERE = Path(__file__).parent
BATCHES = (1, 64)
LONGEST_S = 3.0  # a query that would take longer is not asked
LONGEST_BATCH_S = 30.0
MOST_MEMORY = 8 << 30
TURN_MS = 30.0


SYSTEMS = [
    Peer("ecomfs", "ecomfs_dense"),
    Peer("NumPy", "numpy_brute"),
    Peer("LangChain, in memory", "langchain_memory", "langchain.txt"),
    Peer("LangChain, FAISS", "langchain_faiss", "langchain.txt"),
    Peer("DSPy KNN", "dspy_knn", "dspy.txt"),
]
OURS = "ecomfs"


class Worker:
    """A system in its process."""

    def __init__(self, peer: Peer, python: str, folder: Path, threads: int) -> None:
        limits = {f"{lib}_NUM_THREADS": str(threads) for lib in ("OMP", "OPENBLAS", "MKL")}
        self.peer = peer
        self._process = subprocess.Popen(
            [python, HERE / "peers" / "worker.py", peer.module, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
        )

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send one command and return its answer."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(json.dumps(order) + "\n")
        pipes.stdin.flush()
        line = pipes.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.peer.name} ended with code {pipes.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


@dataclass
class Measured:
    """Measurements of one system with one size and batch."""

    rounds: dict[int, float] = field(default_factory=dict)  # round → median CPU ms
    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    found: dict[int, list[int]] = field(default_factory=dict)


def take_turns(workers: list[Worker], batch: int, seconds: float) -> dict[str, Measured]:
    """Rounds until the time is used up, at least three; a slow system has one turn."""
    measured = {w.peer.name: Measured() for w in workers}
    for worker in workers:
        worker.ask(do="search", calls=[[0]], warm=False)
    stop = time.monotonic() + seconds
    number = 0
    while number < 3 or (time.monotonic() < stop and number < 100):
        shift = number % len(workers)
        for worker in workers[shift:] + workers[:shift]:
            own = measured[worker.peer.name]
            usual = statistics.median(own.ms) if own.ms else 0.0
            if usual > 1e3 * seconds / 5:
                continue
            count = min(40, max(1, int(TURN_MS / usual))) if usual else 1
            first = len(own.ms)
            calls = [
                [(batch * (first + c) + i) % QUERIES for i in range(batch)] for c in range(count)
            ]
            answer = worker.ask(do="search", calls=calls, warm=usual < TURN_MS)
            own.rounds[number] = statistics.median(answer["cpu_ms"])
            own.ms += answer["ms"]
            own.cpu_ms += answer["cpu_ms"]
            for call, found in zip(calls, answer["found"], strict=True):
                own.found |= dict(zip(call, found, strict=True))
        number += 1
    return measured


def measure(size: int, peers: list[Peer], options: Any, before: dict[str, Any]) -> dict[str, Any]:
    """All systems on a pool of one size.

    Args:
        before: rows of the size before, from which what cannot be run is foreseen.
    """
    folder = options.cache / f"pool-{size}"
    text_bytes = make_pool(size, folder)
    matrix_bytes = 2 * size * DIMENSIONS
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    workers: list[Worker] = []
    build: dict[str, dict[str, Any]] = {}
    for peer in peers:
        reason = foresee(peer, size, before)
        if reason:
            skipped[peer.name] = reason
            print(f"{size:,}: {peer.name} is skipped: {reason}", file=sys.stderr)
            continue
        worker = Worker(peer, str(options.pythons[peer.name]), folder, options.threads)
        build[peer.name] = worker.ask(do="build")
        workers.append(worker)
        took = build[peer.name]["seconds"]
        print(f"{size:,}: {peer.name} built in {took:.2f} s", file=sys.stderr)
    for batch in BATCHES:
        group = []
        for worker in workers:
            alone = [r["p50_ms"] for r in rows if r["system"] == worker.peer.name]
            if alone and batch * alone[0] > 1e3 * LONGEST_BATCH_S:
                skipped[f"{worker.peer.name}, batch of {batch}"] = (
                    f"it searches one by one, which would take {batch * alone[0] / 1e3:.0f} s"
                )
            else:
                group.append(worker)
        measured = take_turns(group, batch, options.seconds)
        ours = measured[OURS]
        for worker in group:
            name, own = worker.peer.name, measured[worker.peer.name]
            both = ours.rounds.keys() & own.rounds.keys()
            ratios = [ours.rounds[n] / own.rounds[n] for n in both]
            rows.append(
                {
                    "system": name,
                    "size": size,
                    "batch": batch,
                    "p50_ms": float(np.median(own.ms)),
                    "p99_ms": float(np.quantile(own.ms, 0.99)),
                    "cpu_p50_ms": float(np.median(own.cpu_ms)),
                    "calls": len(own.ms),
                    "ours_to_this": float(np.median(ratios)) if ratios else None,
                    "recall": recall(folder, own.found),
                }
            )
            print(f"  {batch:>2} {name}: {rows[-1]['p50_ms']:.3f} ms", file=sys.stderr)
    memory = {}
    for worker in workers:
        name = worker.peer.name
        used = worker.ask(do="rest")
        memory[name] = {
            "resident_bytes": used["rss"],
            "peak_bytes": used["peak"],
            "build_peak_bytes": build[name]["peak"],
            "build_s": build[name]["seconds"],
        }
        worker.close()
    shutil.rmtree(folder)
    return {
        "size": size,
        "matrix_bytes": matrix_bytes,
        "text_bytes": text_bytes,
        "rows": rows,
        "memory": memory,
        "skipped": skipped,
    }


def foresee(peer: Peer, size: int, before: dict[str, Any]) -> str:
    """Why a system is not run at a size, from its results at the previous size; else empty."""
    if not before or peer.name == OURS:
        return ""
    if peer.name in before["skipped"]:
        return f"as at {before['size']:,}"
    growth = size / before["size"]
    peak = before["memory"][peer.name]["build_peak_bytes"] * growth
    if peak > MOST_MEMORY:
        return f"it would take about {peak / (1 << 30):.0f} GiB"
    single = next(r for r in before["rows"] if r["system"] == peer.name and r["batch"] == 1)
    seconds = single["p50_ms"] * growth / 1e3
    return f"a query would take about {seconds:.0f} s" if seconds > LONGEST_S else ""


def main() -> None:
    """Measure, print the tables, and after each size write the requested files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--only", nargs="+", help="words of the names of the peers to run")
    parser.add_argument("--seconds", type=float, default=8.0, help="a size, kind and batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench-retrieval"))
    parser.add_argument("--out", type=Path, help="folder for retrieval.json, .md and .svg")
    options = parser.parse_args()
    options.cache = options.cache.resolve()
    words = [w.lower() for w in options.only or [""]]
    peers, options.pythons = [], {}
    for peer in SYSTEMS:
        if peer.requirements and not any(w in peer.name.lower() for w in words):
            continue
        try:
            python = Path(sys.executable)
            if peer.requirements:
                python = python_of(peer.requirements, options.cache.parent / "bench-peers")
        except RuntimeError as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
            continue
        peers.append(peer)
        options.pythons[peer.name] = python
    machine = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": options.threads,
    }
    sizes: list[dict[str, Any]] = []
    for size in sorted(options.sizes):
        sizes.append(measure(size, peers, options, sizes[-1] if sizes else {}))
        write({"machine": machine, "sizes": sizes}, options.out)
    print(markdown({"machine": machine, "sizes": sizes}))


def write(result: dict[str, Any], out: Path | None) -> None:
    """Write the measurements so far as JSON, Markdown and a plot."""
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "retrieval.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "retrieval.md").write_text(markdown(result))
    (out / "retrieval.svg").write_text(plot(result))


def processor() -> str:
    """The name of the processor, if the system provides it."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
