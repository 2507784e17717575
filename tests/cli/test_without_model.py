"""Commands with --engine none: the experts answer alone, and no model is loaded."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pools import reviews
from scripted import ScriptedEngine
from serving import ask, serving

from ecomfs.cli import run
from ecomfs.engine.shared import shared_engine
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import create_app

COMMON = ["-t", "review_sentiment", "-e", "pool.csv", "--embedder", "hashed"]


@pytest.fixture(autouse=True)
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ECOMFS_ENGINE", "none")
    for name, seed in (("pool", 0), ("test", 1)):
        rows = [[e.id, e.fields["text"], e.label] for e in reviews(40, seed)]
        with Path(f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["id", "text", "label"], *rows])


def with_a_model(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run a command with a scripted engine."""
    engine: Any = ScriptedEngine()
    with monkeypatch.context() as patched:
        patched.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
        assert run([*arguments, "--engine", "scripted", "--language", "en"]) == 0


def test_score_reports_cost_and_benefit_of_the_model_in_the_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = ["score", "test.csv", *COMMON, "--gold-column", "label", "-o", "out.csv"]
    assert run(score) == 0
    shown = capsys.readouterr()
    assert "40 labelled examples · no model, experts alone" in shown.err
    assert "to see what a model would add and cost: run ecomfs fit" in shown.err
    assert "without LLM" in shown.out
    assert "LLM alone" not in shown.out
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"experts"}
    with_a_model(monkeypatch, "fit", *COMMON, "--tune", "0", "-o", "p.json")
    found = json.loads(Path("p.json").read_text(encoding="utf-8"))["found"]
    capsys.readouterr()
    assert run([*score, "--profile", "p.json", "--restart"]) == 0
    said = capsys.readouterr().err
    alone = f"accuracy {found['accuracy']['experts']:.1%}"
    both = f"accuracy {found['accuracy']['fused']:.1%}"
    assert re.search(rf"on \d+ examples left out, the experts alone had {re.escape(alone)}", said)
    assert f"with scripted {both}" in said
    assert "it would read 40 rows in about" in said


def test_plan_and_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "test.csv", *COMMON]) == 0
    shown = capsys.readouterr().out
    assert "answered by the experts, without the model" in shown
    assert "cannot be used" not in shown
    assert run(["fit", *COMMON, "-o", "p.json", "--precision", "0.8"]) == 0
    shown = capsys.readouterr().out
    assert "40 answered leave-one-out by the experts, without a model" in shown
    assert "weights: vote" in shown
    assert run(["score", "test.csv", *COMMON, "-q", "--profile", "p.json"]) == 0


def test_variants_that_differ_in_prompts_only_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = ["ab", "-t", "review_sentiment", "-e", "pool.csv", "-d", "test.csv"]
    assert run([*pair, "v1", "v2"]) == 2
    assert "without a model (engine none) prompts are not used" in capsys.readouterr().err
    variants = ["--variant", "a: rendering=words", "--variant", "b: rendering=raw"]
    assert run([*pair, *variants, "--embedder", "hashed"]) == 0
    shown = capsys.readouterr().out
    assert "no model, experts alone" in shown
    assert "by the model alone" not in shown


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "soft hat", "-t", "review_sentiment"]) == 2
    assert "no labelled examples: rows cannot be classified" in capsys.readouterr().err
    assert run(["score", "test.csv", *COMMON, "--max-loss", "0.1"]) == 2
    assert "--max-loss has no effect without a model" in capsys.readouterr().err
    assert run(["check"]) == 2
    assert "none has no model to check" in capsys.readouterr().err


def test_suggest_takes_the_uncertainty_from_the_experts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["suggest", "test.csv", *COMMON, "--engine", "none", "-n", "3", "-o", "s.csv"]) == 0
    assert "the experts, who answered 24 rows" in capsys.readouterr().out


def test_a_service_answers_and_explains() -> None:
    clf = FewShotClassifier(engine=shared_engine("none"), embedder="hashed").fit(reviews())
    with serving(create_app(clf)) as url:
        answer = ask(url, "POST", "/v1/explain", {"row": "a lovely soft hat"}).json
        assert answer["prediction"]["label"] == "positive"
        assert answer["prediction"]["source"] == "experts"
        assert ask(url, "GET", "/healthz").json["engine"] == "none"
