"""``--mask patterns``: no planted value is in the files of a run, and the output's own columns are
unchanged.
"""

from __future__ import annotations

import csv
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import FRAMES, KINDS, planted_value
from recording import RecordingEngine

from ecomfs.batch import score_table
from ecomfs.cli import run
from ecomfs.core.options import OPTIONS
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.errors import ConfigError, EngineUnavailableError
from ecomfs.estimators import FewShotClassifier

pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")
VALUES = [
    "13812345678",
    "wei@example.com",
    "11010519491231002X",
    "6222020200112233446",
    "SF10203040",
]
ROWS = [f"it broke, {value} 快递单号{value}" for value in VALUES]
COMMON = ["-t", "review_sentiment", "-e", "pool.csv", "--embedder", "hashed", "--language", "en"]
MASKED = [*COMMON, "--engine", "scripted", "--mask", "patterns"]


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordingEngine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    made = RecordingEngine()
    cached = CachedEngine(made, ReadingCache.open(tmp_path / "cache"))
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: cached)
    pool = [
        (f"p{n}", f"{'torn' if n % 2 else 'lovely'} thing {n}, 订单号{VALUES[n % 5]}", label)
        for n, label in enumerate(["positive", "negative"] * 6)
    ]
    write("pool.csv", ["id", "text", "label"], *pool)
    write("in.csv", ["id", "text", "note"], *[(f"r{n}", row, row) for n, row in enumerate(ROWS)])
    return made


def write(name: str, *rows: object) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)  # type: ignore[arg-type]


def read(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def left(*folders: Path) -> dict[str, list[str]]:
    """File → planted values in its bytes."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            data = path.read_bytes() if path.is_file() else b""
            found[str(path)] = [v for v in VALUES if v.encode() in data]
    return {name: values for name, values in found.items() if values}


def test_nothing_that_a_run_keeps_holds_a_planted_value(
    engine: RecordingEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "in.csv", *MASKED, "-o", "out.csv", "--calibration-size", "8"]) == 0
    assert engine.asked
    assert not [v for v in VALUES if any(v in prompt for prompt in engine.asked)]
    kept = [tmp_path / "cache", tmp_path / "state"]
    assert all([*folder.rglob("*.*")] for folder in kept)
    assert left(*kept) == {}
    said = "".join(capsys.readouterr())
    assert not [v for v in VALUES if v in said]
    rows = read("out.csv")
    assert [row["text"] for row in rows] == [row["note"] for row in rows] == ROWS


def test_the_journal_of_a_stopped_run_holds_no_planted_value(tmp_path: Path) -> None:
    gone = RecordingEngine(limit=3, batch=2)
    options = {"embedder": "hashed", "language": "en", "calibration_size": 0, "k": 2}
    clf = FewShotClassifier("review_sentiment", gone, mask="patterns", **options)  # type: ignore[arg-type]
    clf.fit([row["text"] for row in read("pool.csv")], [row["label"] for row in read("pool.csv")])
    with pytest.raises(EngineUnavailableError):
        score_table("in.csv", "out.csv", clf.pipeline_, chunk_rows=2)
    journals = [*tmp_path.glob("out.csv.journal*")]
    assert sum(path.stat().st_size for path in journals) > 0
    assert left(*journals) == {}


def test_explain_shows_the_masked_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    for how in ([], ["--json"], ["--influence"]):
        assert run(["explain", ROWS[0], *MASKED, *how]) == 0
        said = "".join(capsys.readouterr())
        assert not [v for v in VALUES if v in said]
        assert "[PHONE" in said or "[ORDER" in said


def test_the_plan_costs_the_masked_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "in.csv", *MASKED]) == 0
    assert not [v for v in VALUES if v in "".join(capsys.readouterr())]


@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_columns_of_the_table_come_back_as_they_were(data: st.DataObject) -> None:
    language = data.draw(st.sampled_from(["en", "zh"]))
    texts = []
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(KINDS))
        value = planted_value(kind, language, data.draw(st.randoms(use_true_random=False)))
        texts.append(data.draw(st.sampled_from(FRAMES[language][kind])).format(value))
    write("in.csv", ["id", "text"], *[(str(n), text) for n, text in enumerate(texts)])
    clf = FewShotClassifier("review_sentiment", None, embedder="hashed", mask="patterns")
    clf.fit(["torn and ugly", "lovely hat"], ["negative", "positive"])
    output = f"{uuid4().hex}.csv"
    score_table("in.csv", output, clf.pipeline_)
    assert [row["text"] for row in read(output)] == texts


def test_a_choice_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "in.csv", *COMMON, "--engine", "none", "--mask", "phones"]) == 2
    assert "--mask = 'phones' (--mask is one of none, patterns)" in capsys.readouterr().err


def test_an_unknown_mask_of_a_suite_or_a_variant_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"B: mask = 'phones' \(mask is one of none, patterns\)"):
        OPTIONS["mask"].read("phones", "B")
