"""A suite with a real model: the packaged demo model on a few rows of the samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_suite import SAMPLES

from ecomfs.cli import run as cli
from ecomfs.suites import ResultsFolder, suite_board
from ecomfs_eval import Bootstrap

pytestmark = pytest.mark.model


def test_the_sample_suite_runs_and_is_not_run_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "eval",
        "run",
        "samples",
        "-o",
        str(tmp_path),
        "--data",
        str(SAMPLES),
        "--engine",
        "gguf:demo",
        "--embedder",
        "hashed",
        "--only",
        "review_sentiment",
        "--shots",
        "16",
        "--limit",
        "6",
        "-q",
    ]
    assert cli(command) == 0
    [cell] = ResultsFolder(tmp_path).cells()
    assert cell.measured["status"] == {"ok": 6}
    assert cell.measured["prompt_tokens"] > 0
    assert cell.identity["engine_fingerprint"].startswith("gguf-")
    systems = {p.name: p for p in cell.results.systems}
    assert {"ecomfs", "ecomfs:read", "knn", "tfidf_logistic"} <= set(systems)
    group = suite_board(tmp_path, how=Bootstrap(resamples=200)).groups[0]
    right = [
        a == b for a, b in zip(systems["ecomfs"].predicted, systems["ecomfs"].gold, strict=True)
    ]
    assert group.averages["ecomfs"]["accuracy"].score.value == pytest.approx(sum(right) / 6)
    capsys.readouterr()
    assert cli(command) == 0
    assert "0 cells run, 1 were done" in " ".join(capsys.readouterr().err.split())
