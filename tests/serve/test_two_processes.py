"""Two service processes on one PostgreSQL, killed at random moments: no accepted write is lost or
applied twice.
"""

from __future__ import annotations

import http.client
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scripted import examples
from serving import ask

from ecomfs.pool import Pool
from ecomfs.serve.reviews import Reviews
from ecomfs.types import Example, Prediction

from .conftest import new_database

WRITES, KILLS = 1000, 3
DECIDED = 10  # every tenth write is a decision, the others add an example

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A service in a process of its own, on a fixed port."""

    def __init__(self, config: Path, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-c", "from ecomfs.cli import main; main()", "serve"]
        self._command = [*command, str(config), "--port", str(self.port)]
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def ready(self) -> None:
        for _ in range(1200):
            try:
                if ask(self.url, "GET", "/readyz").status == 200:
                    return
            except OSError:
                pass
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError(self._log.read_text()[-2000:])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)


def sent(processes: list[Process], path: str, body: Any, key: str) -> Any:
    """A write, sent again with its key until it is answered, to whichever process."""
    for _ in range(600):
        url = random.choice(processes).url
        try:
            answer = ask(url, "POST", path, body, {"Idempotency-Key": key})
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            continue
        if answer.status < 500 and answer.status != 429:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{path} was not answered")


@pytest.mark.timeout(900)
def test_no_accepted_write_is_lost_and_none_is_done_twice(
    postgres_url: str, tmp_path: Path
) -> None:
    database = new_database(postgres_url)
    texts, labels = examples()
    start = [
        Example(f"e{i}", {"text": t}, label)
        for i, (t, label) in enumerate(zip(texts, labels, strict=True))
    ]
    with Pool.open(database, "reviews") as pool:
        pool.add(start)
        queue = Reviews(pool, "reviews")
        rows = [{"text": f"row {i}"} for i in range(WRITES // DECIDED)]
        unsure = [Prediction("r", None, {"positive": 0.5, "negative": 0.5})] * len(rows)
        waiting = queue.add(rows, unsure, source="api", by="test")
    config = tmp_path / "ecomfs.yaml"
    config.write_text(
        f"database: {database}\n"
        f"runs: {tmp_path / 'runs'}\n"
        "options: {engine: none, embedder: hashed}\n"
        "tasks: {reviews: {task: review_sentiment}}\n"
    )
    processes = [Process(config, tmp_path / f"log{i}") for i in range(2)]
    try:
        for process in processes:
            process.ready()
        done = threading.Event()
        kills = 0

        def killer() -> None:
            nonlocal kills
            while kills < KILLS and not done.is_set():
                time.sleep(random.uniform(0.5, 3))
                victim = random.choice(processes)
                victim.kill()
                kills += 1
                victim.start()
                victim.ready()

        def write(i: int) -> int:
            if i % DECIDED:
                new = {"row": f"added {i}", "label": "positive", "id": f"w{i}"}
                return int(sent(processes, "/v1/examples", {"examples": [new]}, f"k{i}").status)
            path = f"/v1/reviews/{waiting[i // DECIDED].id}/decide"
            body = {"label": "negative", "reviewer": "wen", "version": 1}
            return int(sent(processes, path, body, f"k{i}").status)

        thread = threading.Thread(target=killer)
        thread.start()
        with ThreadPoolExecutor(8) as callers:
            statuses = list(callers.map(write, range(WRITES)))
        done.set()
        thread.join()
        assert set(statuses) == {200}
        assert kills
        for process in processes:
            found = ask(process.url, "GET", "/v1/examples?limit=1").json
            assert found["total"] == len(start) + WRITES  # both see all, at their next request
    finally:
        for process in processes:
            process.stop()
    with Pool.open(database, "reviews") as pool:
        held = {e.id for e in pool.examples()}
        assert {f"w{i}" for i in range(WRITES) if i % DECIDED} <= held
        assert {review.example_id for review in waiting} <= held
        assert pool.version == 1 + WRITES  # one version for each write
        log = Reviews(pool, "reviews").log(10_000)
        assert len(log) == WRITES // DECIDED
    print(f"{WRITES} writes, {kills} kills")
