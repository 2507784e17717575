"""The line on whether a model adds anything agrees with the intervals."""

from __future__ import annotations

import numpy as np
import pytest

from ecomfs_eval import Bootstrap, Predictions, get_metric
from ecomfs_eval.compare import differences
from ecomfs_eval.report.contribution import METRICS, contribution
from ecomfs_eval.report.document import ReportLanguage
from ecomfs_eval.report.words import ReportWords

GOLD = ["a", "b"] * 100


def answers(right: float, sure: float, seed: int) -> Predictions:
    """Predictions of which about a share is right, all with the same confidence."""
    rng = np.random.default_rng(seed)
    first = np.array([g == "a" for g in GOLD]) == (rng.random(len(GOLD)) < right)
    p = np.where(first, sure, 1 - sure)
    return Predictions.of(GOLD, None, np.column_stack([p, 1 - p]), labels=["a", "b"])


def line(without: Predictions, main: Predictions, language: ReportLanguage = "en") -> str:
    found = differences(without, main, [get_metric(m) for m in METRICS], Bootstrap(resamples=300))
    words = ReportWords(language)
    return contribution(found, len(main), words, main="both", without="experts")


@pytest.mark.parametrize(
    ("without", "main", "answer"),
    [
        (answers(0.6, 0.6, 0), answers(0.95, 0.9, 1), "Yes"),
        (answers(0.9, 0.9, 0), answers(0.9, 0.9, 1), "Not shown"),
        (answers(0.95, 0.9, 0), answers(0.6, 0.6, 1), "No, it harms"),
        (answers(0.7, 0.7, 0), answers(0.9, 0.999999, 1), "Better in one, worse in the other"),
    ],
)
def test_the_answer_follows_the_intervals(
    without: Predictions, main: Predictions, answer: str
) -> None:
    said = line(without, main)
    assert said.startswith(
        f"Does the model add anything? {answer}: both compared with experts, 200 rows:"
    )
    assert said.count("[") == 2


def test_the_line_in_chinese() -> None:
    said = line(answers(0.6, 0.6, 0), answers(0.95, 0.9, 1), "zh")
    assert said.startswith("模型有没有贡献？有：both 与 experts 相比，200 行：准确率 +")


def test_without_probabilities_only_accuracy_is_compared() -> None:
    labels = [Predictions.of(GOLD, ["a"] * len(GOLD)), Predictions.of(GOLD, GOLD)]
    said = line(*labels)
    assert "Yes" in said
    assert "log loss" not in said


def test_no_line_without_metrics() -> None:
    assert contribution([], 0, ReportWords("en"), main="a", without="b") == ""
