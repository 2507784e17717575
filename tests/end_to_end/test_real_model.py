"""The whole pipeline with a real model: SmolLM2 135M, four bits, in this process."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ecomfs.cli import run
from ecomfs.estimators import FewShotClassifier

pytestmark = pytest.mark.model
SAMPLES = Path(__file__).parents[2] / "samples"

POOL = [
    ("Great quality, I love it and would buy it again.", "positive"),
    ("Terrible. It broke after one day and they refused a refund.", "negative"),
    ("Works perfectly, arrived early, very happy.", "positive"),
    ("Waste of money, cheap plastic, do not buy.", "negative"),
    ("Excellent value, my whole family uses it.", "positive"),
    ("Awful smell, returned it immediately.", "negative"),
]


def classifier() -> FewShotClassifier:
    """Each row has its own demonstrations: the labels of similar examples decide."""
    return FewShotClassifier(
        "review_sentiment",
        "gguf:smollm2",
        k=4,
        layout="retrieved",
        embedder="hashed",
        calibration_size=0,
    )


@pytest.fixture(scope="module")
def reviews() -> FewShotClassifier:
    texts, labels = zip(*POOL, strict=True)
    return classifier().fit(texts, labels)


def test_a_model_reads_clear_reviews(reviews: FewShotClassifier) -> None:
    predictions = reviews.classify(
        ["I love this, excellent quality.", "Terrible, it broke, do not buy."]
    )
    assert [p.label for p in predictions] == ["positive", "negative"]
    for p in predictions:
        assert p.label_mass is not None
        assert p.label_mass > 0.5
        assert sum(p.probabilities.values()) == pytest.approx(1)
        assert p.prompt_tokens > 50


def test_changing_a_label_changes_the_next_prediction(reviews: FewShotClassifier) -> None:
    text = "Great quality, I love it and would buy it again."
    before = reviews.explain(text).prediction.probabilities["positive"]
    swapped = {"positive": "negative", "negative": "positive"}
    texts, labels = zip(*POOL, strict=True)
    turned = classifier().fit(texts, [swapped[label] for label in labels])
    assert turned.explain(text).prediction.probabilities["positive"] < before - 0.2


def test_score_writes_a_table_and_prints_the_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    folder = SAMPLES / "review_sentiment"
    out = tmp_path / "out.csv"
    command = ["score", str(folder / "test.csv"), "-t", "review_sentiment", "-o", str(out)]
    options = [
        "-e",
        str(folder / "pool.csv"),
        "--embedder",
        "hashed",
        "--gold-column",
        "label",
        "-q",
    ]
    model = ["--engine", "gguf:smollm2", "--k", "2", "--limit", "6", "--calibration-size", "8"]
    assert run([*command, *options, *model]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert all(r["status"] == "ok" and r["predicted"] in ("positive", "negative") for r in rows)
    printed = capsys.readouterr().out
    for system in ("LLM", "kNN only", "majority"):
        assert system in printed
    assert "n = 6 rows" in printed
