"""The process in which one library labels rows: JSON lines in, JSON lines out.

    python score_worker.py MODULE JOB

``MODULE`` is a file in this folder with a class ``System``; ``JOB`` is a JSON file, see
:class:`Job`. It imports nothing of the project, so that it runs in every library's environment.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """Attributes:
    url: of the server, without a path.
    model: its name there.
    in_flight: rows that may be asked at once.
    labels: the labels.
    texts: the rows.
    prompts: the rows' prompts as ecomfs writes them; peers that have none of their own use them.
    folder: a folder of the peer's own.
    """

    url: str
    model: str
    in_flight: int
    labels: list[str]
    texts: list[str]
    prompts: list[str]
    folder: str


class System(Protocol):
    """What is measured."""

    def __init__(self, job: Job) -> None: ...

    def score(self, start: int, stop: int) -> Sequence[str | None]:
        """What is said of rows ``start`` to ``stop``; ``None`` for a row that failed."""


def known(said: str | None, labels: Sequence[str]) -> str | None:
    """The label that an answer means: it has to be the answer, but for case and punctuation."""
    word = (said or "").strip().strip(".!\"'`*").casefold()
    return next((label for label in labels if label.casefold() == word), None)


def main() -> None:
    """Serve one parent."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what packages print is no answer
    job = Job(**json.loads(Path(sys.argv[2]).read_text()))
    system: System = importlib.import_module(sys.argv[1]).System(job)
    for line in sys.stdin:
        order = json.loads(line)
        began = time.perf_counter()
        said = system.score(order["start"], order["stop"])
        wall = time.perf_counter() - began
        ok = sum(known(label, job.labels) is not None for label in said)
        answers.write(json.dumps({"wall": wall, "ok": ok, "rows": len(said)}) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.modules["score_worker"] = sys.modules["__main__"]
    main()
