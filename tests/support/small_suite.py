"""A suite of two sample tables that runs in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripted import ScriptedEngine

from ecomfs.suites import Suite, SuiteRun, run_suite

SAMPLES = Path(__file__).parents[2] / "samples"


def small(**changes: Any) -> Suite:
    data = {
        "name": "small",
        "shots": [16],
        "seeds": [0, 1],
        "systems": ["ecomfs", "stages", "knn", "majority", "rule"],
        "options": {
            "k": 2,
            "embedder": "hashed",
            "language": "en",
            "calibration_size": 0,
            "fusion": False,
        },
        "datasets": [
            {
                "name": "reviews",
                "task": "review_sentiment",
                "pool": {"file": "review_sentiment/pool.csv"},
                "test": {"file": "review_sentiment/test.csv", "rows": 12},
            },
            {
                "name": "next",
                "task": "next_category",
                "pool": {"file": "next_category/pool.csv"},
                "test": {"file": "next_category/test.csv", "rows": 10},
            },
        ],
        **changes,
    }
    return Suite.model_validate(data)


def go(suite: Suite, output: Path, **options: Any) -> SuiteRun:
    options = {"data": SAMPLES, "engine": ScriptedEngine(), **options}
    return run_suite(suite, output, **options)
