"""Rows and prompts for the systems of ``gpu.py``, and the reading by ecomfs."""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts to classify, and labelled examples."""

    texts: list[str]
    examples: list[tuple[str, str]]
    k: int
    language: str

    @classmethod
    def read(cls, options: argparse.Namespace) -> Rows:
        texts: dict[str, None] = {}  # a text that comes twice would be answered from the cache
        for path in options.input:
            texts.update(dict.fromkeys(row["text"] for row in _records(path) if row["text"]))
        examples = [(row["text"], row["label"]) for row in _records(options.pool)]
        return cls([*texts][: options.rows], examples, options.k, options.language)

    def first(self, count: int) -> Rows:
        """The first ``count`` texts."""
        return Rows(self.texts[:count], self.examples, self.k, self.language)

    def write(self, path: Path) -> Path:
        """The texts as a CSV file."""
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([["text"], *([t] for t in self.texts)])
        return path


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def pipeline(engine: Any, rows: Rows, layout: str) -> Any:
    """A pipeline that has not read anything yet."""
    from ecomfs.estimators import FewShotClassifier

    made = FewShotClassifier(
        "review_sentiment",
        engine,
        k=rows.k,
        layout=layout,  # type: ignore[arg-type]
        language=rows.language,  # type: ignore[arg-type]
        embedder="hashed",
        similarity="text",
        calibration_size=0,
    )
    texts, labels = zip(*rows.examples, strict=True)
    return made.fit(list(texts), list(labels), progress=False).pipeline_


def token_ids(made: Any, rows: Rows) -> list[list[int]]:
    """The prompts of rows as token ids, as ecomfs makes them."""
    ids = [str(n) for n in range(len(rows.texts))]
    cases = made.prepare([{"text": t} for t in rows.texts], ids)
    return [list(case.prompt.token_ids) for case in cases if case.prompt is not None]


def score(made: Any, rows: Rows) -> tuple[float, int]:
    """Seconds that ecomfs takes to classify a table, and the number of rows without an answer."""
    from ecomfs.batch import score_table

    with tempfile.TemporaryDirectory() as folder:
        source = rows.write(Path(folder) / "in.csv")
        began = time.perf_counter()
        tally = score_table(source, Path(folder) / "out.csv", made).tally
        seconds = time.perf_counter() - began
    return seconds, tally.status["failed"]
