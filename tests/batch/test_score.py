"""Batch scoring with a scripted engine: the outcome of rows for any answer of the model."""

from __future__ import annotations

import csv
import errno
import gc
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pools import reviews
from scripted import ScriptedEngine, classifier

from ecomfs.batch import score_table
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    EngineResponseError,
    EngineUnavailableError,
    MissingFileError,
    OutputError,
)
from ecomfs.estimators import FewShotClassifier


def table(path: Path, rows: list[list[str]], header: tuple[str, ...] = ("id", "text")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def score(tmp_path: Path, source: Path, engine: Any = None, **options: Any) -> list[dict[str, str]]:
    clf = classifier(engine)
    score_table(source, tmp_path / "out.csv", clf.pipeline_, **options)
    return read(tmp_path / "out.csv")


def test_columns_order_and_answers(tmp_path: Path) -> None:
    source = table(
        tmp_path / "in.csv", [["7", "fine", "x"], ["3", "bad", "y"]], ("id", "text", "shop")
    )
    out = score(tmp_path, source, probabilities=True)
    assert list(out[0])[:3] == ["id", "text", "shop"]
    assert [(r["id"], r["shop"]) for r in out] == [("7", "x"), ("3", "y")]
    for row in out:
        assert row["predicted"] in ("positive", "negative")
        assert row["status"] == "ok"
        p = {n: float(row[f"p_{n}"]) for n in ("positive", "negative")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert float(row["confidence"]) == pytest.approx(max(p.values()), abs=1e-6)
        assert len(row["demonstration_ids"].split()) == 4
        assert row["template"].startswith("review_sentiment/en.v1@")


def test_a_fitted_classifier_scores_as_its_pipeline_and_as_its_pool_is_now(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["7", "fine"], ["3", "bad"]])
    clf = classifier()
    score_table(source, tmp_path / "a.csv", clf.pipeline_)
    score_table(source, tmp_path / "b.csv", clf)
    assert read(tmp_path / "a.csv") == read(tmp_path / "b.csv")
    shown = read(tmp_path / "a.csv")[0]["demonstration_ids"].split()[0]
    clf.pool_.retire([shown])
    score_table(source, tmp_path / "c.csv", clf)
    assert shown not in read(tmp_path / "c.csv")[0]["demonstration_ids"].split()


def test_every_bad_row_keeps_its_place(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        f"id,text\n1,works\n2,\n3,{'x' * 1_000_000}\n4,nul \0 inside\n5,a,b,c\n1,works\n".encode()
        + "6,很好用\n".encode("gb18030")
    )
    out = score(tmp_path, source)
    assert [r["id"] for r in out] == ["1", "2", "3", "4", "5", "1", "6"]
    assert [r["status"] for r in out] == ["ok", "failed", "failed", "failed", "failed", "ok", "ok"]
    assert out[1]["error"] == "field 'text' is empty"
    assert "1,000,000 characters" in out[2]["error"]
    assert len(out[2]["text"]) == 1_000_000
    assert "NUL" in out[3]["error"]
    assert "4 cells where the header has 2" in out[4]["error"]
    assert '["b", "c"]' in out[4]["note"]
    assert "id '1' occurs more than once" in out[5]["note"]
    assert out[5]["predicted"] == out[0]["predicted"]
    assert out[6]["text"] == "很好用"
    assert all(r["predicted"] == "" for r in out if r["status"] == "failed")


def test_identical_rows_are_asked_once(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    source = table(tmp_path / "in.csv", [[str(i), "same"] for i in range(20)])
    out = score(tmp_path, source, engine)
    assert sum(engine.calls) == 1
    assert len({r["confidence"] for r in out}) == 1
    assert [r["id"] for r in out] == [str(i) for i in range(20)]


def test_a_failing_row_affects_no_other(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["1", "good"], ["2", "poison"], ["3", "good too"]])
    out = score(tmp_path, source, ScriptedEngine(fails_on="Review: poison"))
    assert [r["status"] for r in out] == ["ok", "failed", "ok"]
    assert out[1]["error"] == "no answer for this prompt"


def test_unparsable_answers_are_invalid_never_a_default(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["1", "good"]])
    out = score(tmp_path, source, ScriptedEngine(logprobs=False, answer="I would say maybe"))
    assert (out[0]["status"], out[0]["predicted"], out[0]["confidence"]) == ("invalid", "", "")
    assert "'I would say maybe'" in out[0]["error"]


def test_text_answers_are_parsed(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["1", "good"]])
    out = score(tmp_path, source, ScriptedEngine(logprobs=False, answer="Sentiment: Negative."))
    assert (out[0]["status"], out[0]["predicted"]) == ("ok", "negative")


def test_a_gone_engine_keeps_the_answers_so_far(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [[str(i), f"row {i}"] for i in range(600)])
    engine = ScriptedEngine()
    clf = classifier(engine)

    def pull_the_plug(tally: Any) -> None:
        engine.gone = True

    with pytest.raises(EngineUnavailableError, match="start it") as caught:
        score_table(
            source, tmp_path / "out.csv", clf.pipeline_, chunk_rows=32, on_progress=pull_the_plug
        )
    assert any("answers are kept" in note for note in caught.value.__notes__)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv.journal"]
    asked = sum(engine.calls)
    engine.gone = False
    result = score_table(source, tmp_path / "out.csv", clf.pipeline_, chunk_rows=32)
    assert result.tally.rows == 600
    assert 0 < result.tally.resumed < 600
    # What was answered is not asked again; only calls that found no engine are repeated.
    assert sum(engine.calls) < 600 + asked
    assert [r["id"] for r in read(tmp_path / "out.csv")] == [str(i) for i in range(600)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_an_engine_gone_from_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["1", "good"]])
    clf = classifier(ScriptedEngine(gone=True))
    with pytest.raises(EngineUnavailableError):
        score_table(source, tmp_path / "out.csv", clf.pipeline_)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_when_everything_fails_for_a_while_the_run_stops(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [[str(i), f"row {i}"] for i in range(300)])
    clf = classifier(ScriptedEngine(fails_on="Review: row"))
    with pytest.raises(EngineResponseError, match="no answer for this prompt"):
        score_table(source, tmp_path / "out.csv", clf.pipeline_)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_full_disk_at_the_end_asks_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = table(tmp_path / "in.csv", [[str(i), f"row {i}"] for i in range(30)])
    engine = ScriptedEngine()
    clf = classifier(engine)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            score_table(source, tmp_path / "out.csv", clf.pipeline_)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv.journal"]
    asked = sum(engine.calls)
    result = score_table(source, tmp_path / "out.csv", clf.pipeline_)
    assert sum(engine.calls) == asked
    assert result.tally.resumed == 30
    assert len(read(tmp_path / "out.csv")) == 30


def test_wrong_columns_write_nothing(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["1", "good"]], ("id", "texto"))
    with pytest.raises(ColumnError, match="did you mean 'texto'"):
        score(tmp_path, source)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_output_must_not_be_the_input(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [["1", "good"]])
    with pytest.raises(ConfigError, match="same file"):
        score_table(source, source, classifier().pipeline_)


def test_gold_is_collected_and_its_gaps_are_not_scored(tmp_path: Path) -> None:
    from ecomfs.evaluation.evaluate import systems

    rows = [["1", "good", "POSITIVE"], ["2", "bad", ""], ["3", "ugly", "unheard of"]]
    source = table(tmp_path / "in.csv", rows, ("id", "text", "truth"))
    clf = classifier()
    result = score_table(source, tmp_path / "o.csv", clf.pipeline_, gold_column="truth")
    assert result.gold is not None
    found = systems(result.gold, clf.pipeline_)
    assert list(found) == ["LLM", "kNN only", "majority"]
    for predictions in found.values():
        assert predictions.gold == ("positive", "unheard of")
        assert predictions.probabilities is not None
        assert predictions.probabilities.shape == (2, 3)


def test_a_row_of_another_width_has_no_true_label(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    lines = ["id,text,truth,shop", "1,good,positive,A", "2,so, so,negative,A", "3,bad,negative"]
    source.write_text("\n".join([*lines, "4,poor,negative,A", "5,nul\0,negative,A", ""]))
    result = score_table(source, tmp_path / "o.csv", classifier().pipeline_, gold_column="truth")
    assert result.gold is not None
    # The row with a NUL character failed too, but its true label is known.
    assert result.gold.labels == ["positive", "", "", "negative", "negative"]
    assert result.tally.status["failed"] == 3


def test_metrics_of_model_and_experts_are_shown_with_the_fused_answer(tmp_path: Path) -> None:
    from ecomfs.evaluation.evaluate import systems

    rows = [["1", "good", "POSITIVE"], ["2", "bad", "negative"], ["3", "", "positive"]]
    source = table(tmp_path / "in.csv", rows, ("id", "text", "truth"))
    clf = FewShotClassifier(
        "review_sentiment", ScriptedEngine(), embedder="hashed", calibration_size=20
    ).fit(reviews())
    result = score_table(source, tmp_path / "o.csv", clf.pipeline_, gold_column="truth")
    assert result.gold is not None
    found = systems(result.gold, clf.pipeline_)
    assert list(found) == ["ecomfs", "LLM alone", "without LLM", "kNN only", "majority"]
    first = result.gold.predictions[0]
    for name, stage in (("LLM alone", "calibrated"), ("without LLM", "experts")):
        p = found[name]
        assert p.probabilities is not None
        np.testing.assert_allclose(p.probabilities[0], first.stages[stage])
        assert np.isnan(p.probabilities[2]).all()  # the empty row failed for all alike
        assert p.predicted[2] is None


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12), st.integers(1, 5))
def test_input_columns_round_trip_whatever_they_hold(
    rows: list[tuple[str, str]], chunk: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.csv"
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow(["id", "text", "more"])
            writer.writerows([str(i), text, more] for i, (text, more) in enumerate(rows))
        target = Path(folder) / "out.csv"
        result = score_table(source, target, classifier().pipeline_, chunk_rows=chunk)
        out = read(target)
    assert result.tally.rows == len(rows) == len(out)
    assert [(r["text"], r["more"]) for r in out] == rows
    for row, (text, _) in zip(out, rows, strict=True):
        assert row["status"] == ("ok" if text.strip() else "failed")


def test_the_collector_has_its_threshold_again_after_a_run(tmp_path: Path) -> None:
    before = gc.get_threshold()
    (tmp_path / "in.csv").write_text("text\nlovely hat\n", encoding="utf-8")
    seen: list[int] = []
    score_table(
        str(tmp_path / "in.csv"),
        tmp_path / "out.csv",
        classifier().pipeline_,
        on_progress=lambda tally: seen.append(gc.get_threshold()[0]),
    )
    assert max(seen) > before[0]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("empty", ["", "."])
def test_an_empty_name_is_no_table_and_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = table(tmp_path / "in.csv", [["1", "fine"]])
    with pytest.raises(OutputError, match="this is a folder"):
        score_table(source, empty, classifier())
    with pytest.raises((ConfigError, MissingFileError), match=r"input is empty|this is a folder"):
        score_table(empty, "out.csv", classifier())
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
