"""A process that scores a table with a slow scripted engine, to be killed from outside."""

from __future__ import annotations

import asyncio
import csv
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from scripted import ScriptedEngine, classifier

from ecomfs.types import Prompt, Question

ROWS = 400
_SPAWN = multiprocessing.get_context("forkserver")
_SPAWN.set_forkserver_preload(
    ["victim", "ecomfs.batch", "ecomfs.cli", "ecomfs.estimators", "ecomfs.embed.hashed"]
)


class SlowEngine(ScriptedEngine):
    """A slow engine that records every prompt."""

    def __init__(self, log: Path, seconds: float = 0.004, **options: Any) -> None:
        super().__init__(batch=16, **options)
        self._log = log
        self._seconds = seconds

    async def read(self, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Any]:
        with self._log.open("a") as log:
            log.write("asked\n" * len(prompts))
        await asyncio.sleep(self._seconds)
        return await super().read(prompts, questions)


def asked(log: Path) -> int:
    """Number of prompts that the engine has received."""
    return len(log.read_text().splitlines()) if log.exists() else 0


def make_table(path: Path, rows: int = ROWS) -> int:
    """A table with repeated, empty, broken and failing rows; returns how many reach the engine."""
    chance = random.Random(7)
    texts: list[str] = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "shop"])
        for i in range(rows):
            text = f"row {i} {'很好' * (i % 3)}"
            if i % 10 == 3 and texts:
                text = chance.choice(texts)
            if i % 25 == 24:
                text = ""
            if i % 40 == 39:
                text = f"poison {i}"
            texts.append(text)
            writer.writerow([i, text, "a,b"][: 2 if i % 90 == 89 else 3])
    with path.open(encoding="utf-8", newline="") as file:
        whole = list(csv.reader(file))[1:]
    return len({row[1] for row in whole if len(row) == 3})


def score(source: Path, output: Path, log: Path, steps: int | None = None) -> None:
    """Score ``source``; with ``steps``, die by SIGKILL at that many Python calls of the package."""
    from ecomfs.batch import score_table

    pipeline = classifier(SlowEngine(log, fails_on="Review: poison")).pipeline_
    if steps is not None:
        die_after(steps)
    score_table(source, output, pipeline, chunk_rows=32, probabilities=True)


def die_after(steps: int) -> None:
    """Kill this process at a random place: the n-th call of a function of the batch package."""
    lock, left = threading.Lock(), [steps]

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "/ecomfs/batch/" in frame.f_code.co_filename:
            with lock:
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile_all_threads(profile) if sys.version_info >= (3, 12) else None
    threading.setprofile(profile)
    sys.setprofile(profile)


def command(arguments: list[str], log: Path, seconds: float, said: Path) -> None:
    """Run the command line with the slow engine in place of a model; output goes to ``said``."""
    sys.stderr = sys.stdout = said.open("w", encoding="utf-8")
    import ecomfs.estimators.few_shot
    from ecomfs.cli import run

    engine = SlowEngine(log, seconds)
    ecomfs.estimators.base.shared_engine = lambda spec: engine  # type: ignore[attr-defined]
    code = run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(target: Any, *arguments: Any) -> Any:
    """Start a new process that runs ``target``."""
    process = _SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def score_within(
    source: Path, output: Path, log: Path, limit: str, amount: int, said: Path
) -> None:
    """Score ``source`` under a system limit; an error goes to ``said``.

    Args:
        limit: ``RLIMIT_FSIZE``, or ``RLIMIT_NOFILE`` beyond the handles that are open.
    """
    import resource

    from ecomfs.batch import score_table
    from ecomfs.errors import EcomfsError

    pipeline = classifier(ScriptedEngine(fails_on="Review: poison")).pipeline_
    which = getattr(resource, limit)
    if limit == "RLIMIT_NOFILE":
        with os.scandir("/proc/self/fd") as found:
            amount += 1 + max(int(entry.name) for entry in found)
    resource.setrlimit(which, (amount, resource.getrlimit(which)[1]))
    try:
        score_table(source, output, pipeline, chunk_rows=32, probabilities=True)
    except EcomfsError as error:
        resource.setrlimit(which, (resource.getrlimit(which)[1],) * 2)
        said.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
