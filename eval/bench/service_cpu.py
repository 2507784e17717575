"""CPU of the service per single-row request, without embedding and model.

    python eval/bench/service_cpu.py                        # this tree
    git worktree add ../before COMMIT
    python eval/bench/service_cpu.py --other ../before      # both, in alternation

From each tree a service without a model (the experts answer) and with the hashed embedder is
started as a separate process. Callers send one row per request, in short rounds that alternate
between the trees, so that both run under the same conditions. The event loop is the process's main
thread; its CPU time is read from Linux in nanoseconds. On a shared machine cold caches cost CPU
too, so the minimum over the rounds is taken as the cost of the service; the ratio is printed for
the minima and for each round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import aiohttp

HERE = Path(__file__).parents[2]
POOL = HERE / "samples/review_sentiment/pool.csv"
OPTIONS = "--engine none --embedder hashed --k 4 --calibration-size 0 --language en --port 0"


class Service:
    """A process of a service for review sentiment, from a tree of the repository."""

    def __init__(self, tree: Path) -> None:
        command = [sys.executable, "-m", "ecomfs", "serve", "--task", "review_sentiment"]
        command += ["--examples", str(POOL), *OPTIONS.split()]
        environment = {k: v for k, v in os.environ.items() if k != "ECOMFS_API_KEY"}
        environment["PYTHONPATH"] = f"{tree}{os.pathsep}{tree / 'eval'}"
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tree
        )
        assert self.process.stderr is not None
        told = ""
        for line in self.process.stderr:
            told += line
            if found := re.search(r"serving at (http://\S+)", line):
                self.url = found[1]
                return
        raise SystemExit(told)

    def loop_ms(self) -> float:
        """CPU milliseconds of the event loop so far."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e6

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


async def load(service: Service, clients: int, requests: int, first: int) -> None:
    """Send this many requests, each with a different text."""
    left = iter(range(first, first + requests))

    async def caller(session: aiohttp.ClientSession) -> None:
        for i in left:
            body = {"rows": [f"Lovely, fits well and arrived early ({i})"]}
            async with session.post(f"{service.url}/v1/classify", json=body) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(caller(session) for _ in range(clients)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, help="a tree of another commit")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--requests", type=int, default=150, help="of each round")
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    trees = [*([arguments.other.resolve()] if arguments.other else []), HERE]
    services = [Service(tree) for tree in trees]
    sent = 0
    try:
        for service in services:
            asyncio.run(load(service, 4, 60, sent))
        names = ["other ms", "this ms", "this ÷ other, least", "median of rounds"]
        columns = names if len(trees) == 2 else ["this ms"]
        print("| clients | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
        for clients in arguments.clients:
            found: list[list[float]] = [[] for _ in services]
            for _ in range(arguments.rounds):
                sent += arguments.requests
                for service, kept in zip(services, found, strict=True):
                    before = service.loop_ms()
                    asyncio.run(load(service, clients, arguments.requests, 1000 + sent))
                    kept.append((service.loop_ms() - before) / arguments.requests)
            cells = [f"{min(kept):.2f}" for kept in found]
            if len(trees) == 2:
                ratios = [mine / other for other, mine in zip(*found, strict=True)]
                cells.append(f"{min(found[1]) / min(found[0]):.2f}")
                cells.append(f"{statistics.median(ratios):.2f}")
            print(f"| {clients} | " + " | ".join(cells) + " |", flush=True)
    finally:
        for service in services:
            service.stop()


if __name__ == "__main__":
    main()
