"""ecomfs: from a CSV file to a CSV file with predictions, with journal and constrained answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from score_worker import Job

from ecomfs.batch import score_table
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.estimators import FewShotClassifier

PER_REQUEST = 16


def classifier(job_url: str, model: str, in_flight: int, k: int, examples: list[list[str]]):
    """A classifier that is fitted and has asked nothing."""
    engine = VllmEngine(
        job_url,
        model=model,
        prompts_per_request=PER_REQUEST,
        concurrency=max(1, in_flight // PER_REQUEST),
    )
    made = FewShotClassifier(
        "review_sentiment",
        engine,
        k=k,
        embedder="hashed",
        language="en",
        calibration_size=0,
        similarity="text",
    )
    return made.fit([text for text, _ in examples], [label for _, label in examples])


class System:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._folder = Path(job.folder)
        made = json.loads((self._folder / "examples.json").read_text())
        self._pipeline = classifier(
            job.url, job.model, job.in_flight, made["k"], made["examples"]
        ).pipeline_

    def score(self, start: int, stop: int) -> list[str | None]:
        source, output = self._folder / "in.csv", self._folder / "out.csv"
        with source.open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([t] for t in self._job.texts[start:stop])])
        score_table(source, output, self._pipeline)
        with output.open(newline="") as file:
            return [row["predicted"] or None for row in csv.DictReader(file)]
